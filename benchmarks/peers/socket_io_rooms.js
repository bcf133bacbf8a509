// Node's socket.io with tokens and its own rooms, and messages in memory. The port is the one argument.
const { createServer } = require('http');
const { Server } = require('socket.io');
const { room, userOf } = require('./rooms.js');

const http = createServer();
const io = new Server(http, { transports: ['websocket'] });

io.use((socket, next) => {
  try {
    socket.data.user = userOf(socket.handshake.auth.token);
    next();
  } catch (error) {
    next(error);
  }
});

io.on('connection', (socket) => {
  socket.on('room.join', ({ room: name, since }, acknowledge) => {
    socket.join(name);
    acknowledge(room(name).view(since));
  });
  socket.on('chat.send', ({ data }, acknowledge) => {
    const message = room(data.room).add(socket.data.user, data.text);
    io.to(data.room).emit('chat.message', message);
    acknowledge({ offset: message.offset });
  });
});

http.listen(Number(process.argv[2]), '127.0.0.1');
