// Node's ws: an echo at any path, and a broadcast to all clients at /room. The port is the one argument.
const { WebSocket, WebSocketServer } = require('ws');

const server = new WebSocketServer({ host: '127.0.0.1', port: Number(process.argv[2]), perMessageDeflate: false });

server.on('connection', (socket, request) => {
  socket.on('error', () => {});
  if (request.url === '/room') {
    socket.on('message', (data) => {
      server.clients.forEach((client) => {
        if (client.readyState === WebSocket.OPEN) client.send(data, { binary: false });
      });
    });
  } else {
    socket.on('message', (data) => socket.send(JSON.stringify(JSON.parse(data))));
  }
});
