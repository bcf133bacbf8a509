// Node's ws with tokens and rooms, in the gateway's messages. The port is the one argument.
const { WebSocket, WebSocketServer } = require('ws');
const { room, userOf } = require('./rooms.js');

const server = new WebSocketServer({ host: '127.0.0.1', port: Number(process.argv[2]), perMessageDeflate: false });

server.on('connection', (socket, request) => {
  let user;
  try {
    user = userOf(new URL(request.url, 'ws://peer').searchParams.get('token'));
  } catch {
    socket.close(4401);
    return;
  }
  const joined = new Set();
  socket.on('error', () => {});
  socket.on('close', () => joined.forEach((each) => each.members.delete(socket)));
  socket.on('message', (text) => {
    const { type, id, data } = JSON.parse(text);
    const reply = (content) => socket.send(JSON.stringify({ type: 'reply', id, status: 20000, data: content }));
    const place = room(data.room);
    if (type === 'room.join') {
      joined.add(place);
      place.members.add(socket);
      reply(place.view(data.since));
    } else if (type === 'chat.send') {
      const message = place.add(user, data.text);
      const event = JSON.stringify({ type: 'chat.message', data: message });
      place.members.forEach((member) => {
        if (member.readyState === WebSocket.OPEN) member.send(event);
      });
      reply({ offset: message.offset });
    }
  });
  socket.send(JSON.stringify({ type: 'welcome', data: { user } }));
});
