// Starts Verdaccio by its library: its command refuses nodes older than its makers test with.
// Arguments: the folder of the package, its configuration, the port.
const [, , folder, configuration, port] = process.argv;
const { runServer } = await import(`${folder}/build/index.mjs`);
const server = await runServer(configuration);
server.listen(Number(port), "127.0.0.1");
