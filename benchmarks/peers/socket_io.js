// Node's socket.io: acknowledgements for the echo, and its own rooms. The port is the one argument.
const { createServer } = require('http');
const { Server } = require('socket.io');

const http = createServer();
const io = new Server(http, { transports: ['websocket'] });

io.on('connection', (socket) => {
  socket.on('echo', (data, acknowledge) => acknowledge(data));
  socket.on('join', (acknowledge) => {
    socket.join('everyone');
    acknowledge();
  });
  socket.on('say', (data) => io.to('everyone').emit('said', data));
});

http.listen(Number(process.argv[2]), '127.0.0.1');
