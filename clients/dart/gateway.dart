// A client of json-gateway for Flutter and Dart 3, to copy and to change. docs/clients.md has its rules.
// The tests of json-gateway cannot compile Dart: nothing but a reading has checked this file.

import 'dart:async';
import 'dart:convert';
import 'dart:io';
import 'dart:math';

typedef Json = Map<String, dynamic>;

class Refused implements Exception {
  Refused(Json frame) : status = frame['status'], name = frame['name'], message = frame['message'];
  final int status;
  final String name, message;
}

class Lost implements Exception {
  Lost(this.why);
  final String why;
}

class _End implements Exception {
  _End(this.reconnect, this.why, [this.afterMs = 0]);
  final String reconnect, why;
  final num afterMs;
}

class _Call {
  _Call(this.type, this.data, this.done);
  final String type;
  final Json data;
  final void Function(Json) done;
  final answer = Completer<Json>();
  bool isOut = false;
  int tries = 0;
}

const _afterClose = {
  1000: 'never', 4400: 'never', 4403: 'never', 1008: 'new_credential', 4410: 'new_credential', 4411: 'new_credential',
};

class Gateway {
  Gateway(this.url, this.getToken, {this.onState, this.onMessage, this.onGap});

  final String url; // such as wss://chat.example.com
  final Future<String> Function(String reason) getToken;
  final void Function(String state, String? why)? onState;
  final void Function(String room, Json message)? onMessage;
  final void Function(String room, String reason)? onGap;
  final _calls = <int, _Call>{}; // the ones without an answer, in their order
  final _rooms = <String, Json?>{}; // the position in each: its epoch and offset
  WebSocket? _socket;
  Completer<_End>? _ending;
  String? _token;
  DateTime _tokenEnds = DateTime.utc(0); // by the gateway's clock, which may be ahead of ours
  Duration _ahead = Duration.zero;
  DateTime _heardAt = DateTime.now();
  bool _isOpen = false, _isOver = false, _isRenewing = false;
  int _lastId = 0, _failures = 0, _refusals = 0;

  void open() => unawaited(_run());
  void close() {
    _isOver = true;
    _end(_End('never', 'closed by this client'));
  }
  void check() { if (_isOpen) _ping(); } // on AppLifecycleState.resumed, or when the network has changed
  Future<Json> join(String room) => call('room.join', {'room': room}, (reply) => _rooms[room] = _position(reply, 'offset'));
  Future<Json> send(String room, String text) => // its client_id lets the gateway store it once
      call('chat.send', {'room': room, 'text': text, 'client_id': '${DateTime.now().microsecondsSinceEpoch}-${Random().nextInt(1 << 32)}'});
  Future<Json> call(String type, [Json data = const {}, void Function(Json)? done]) => _add(type, data, done, _isOpen).answer.future;

  _Call _add(String type, Json data, void Function(Json)? done, bool now) {
    final id = ++_lastId, call = _calls[id] = _Call(type, data, done ?? (_) {});
    if (now) _write(id, call);
    return call;
  }
  void _ask(String type, Json data, [void Function(Json)? done]) => _add(type, data, done, true).answer.future.ignore();
  void _write(int id, _Call call) {
    call.isOut = true;
    call.tries++;
    _socket?.add(jsonEncode({'type': call.type, 'id': id, 'data': call.data}));
  }
  void _lose(String why, bool Function(_Call) which) {
    final lost = [for (final MapEntry(:key, :value) in _calls.entries) if (which(value)) key];
    for (final id in lost) _calls.remove(id)!.answer.completeError(Lost(why));
  }
  void _end(_End end) { if (_ending?.isCompleted == false) _ending!.complete(end); }

  Future<void> _run() async {
    while (true) {
      final end = await _converse();
      _isOpen = false;
      unawaited(_socket?.close());
      _socket = null;
      if (end.reconnect == 'new_credential') _token = null;
      if (end.reconnect == 'never' || _isOver || end.reconnect == 'new_credential' && _refusals++ == 2) {
        _lose(end.why, (_) => true);
        return onState?.call('closed', end.why);
      }
      _lose(end.why, (call) => call.isOut && call.type != 'chat.send');
      for (final call in _calls.values) call.isOut = false;
      onState?.call('waiting', end.why);
      final jitter = Random().nextDouble() * min(30000, 1000 * pow(2, min(_failures++, 5)));
      final wait = end.reconnect == 'after_delay' && end.afterMs > 0 ? end.afterMs : max(jitter, end.afterMs);
      await Future<void>.delayed(Duration(milliseconds: wait.round()));
    }
  }

  Future<_End> _converse() async {
    onState?.call('connecting', null);
    final ending = _ending = Completer<_End>();
    _isRenewing = false;
    try {
      if (_token == null || _tokenEnds.isBefore(DateTime.now().add(_ahead + const Duration(minutes: 1)))) {
        _token = await getToken(_refusals > 0 ? 'refused' : 'connect').timeout(const Duration(seconds: 30));
      }
    } catch (error) {
      return _End('with_backoff', 'getToken failed: $error');
    }
    try {
      _socket = await WebSocket.connect('$url/ws/chat', headers: {'Authorization': 'Bearer $_token'}).timeout(const Duration(seconds: 15));
    } catch (error) {
      return _End('with_backoff', 'check the address, the token and the proxy: $error');
    }
    final mine = _socket!;
    _heardAt = DateTime.now();
    mine.listen(_take, onError: (Object error) => _end(_End('with_backoff', '$error')),
        onDone: () => _end(_End(_afterClose[mine.closeCode] ?? 'with_backoff', 'the connection ended: ${mine.closeCode} ${mine.closeReason}')));
    final watch = Timer.periodic(const Duration(seconds: 5), (_) {
      final silent = DateTime.now().difference(_heardAt).inSeconds;
      if (!_isOpen && silent > 15) _end(_End('with_backoff', 'no welcome came'));
      if (_isOpen && silent > 50) _ping(); // two heartbeats
    });
    return ending.future.whenComplete(watch.cancel);
  }

  void _ping() {
    final asked = DateTime.now(), mine = _socket;
    _ask('ping', {});
    Timer(const Duration(seconds: 5), () {
      if (identical(mine, _socket) && _heardAt.isBefore(asked)) _end(_End('with_backoff', 'no answer to a ping'));
    });
  }
  void _take(dynamic text) {
    _heardAt = DateTime.now();
    try {
      _hear(jsonDecode(text as String) as Json);
    } on _End catch (end) {
      _end(end);
    } catch (nonsense) {
      stderr.writeln('ignored $text: $nonsense');
    }
  }
  void _hear(Json frame) {
    final data = frame['data'] is Json ? frame['data'] as Json : <String, dynamic>{};
    switch (frame['type']) {
      case 'reply':
        final call = _calls.remove(frame['id']);
        call?.done(data);
        call?.answer.complete(data);
      case 'error':
        final waiting = _calls[frame['id']];
        // One that went out before may be stored, so no refusal of the moment is its answer.
        if (waiting != null && waiting.type == 'chat.send' && waiting.tries > 1 && frame['retryable'] == true) {
          return _again(frame['id'] as int, waiting, (frame['retry_after_ms'] as num? ?? 1000).round());
        }
        _calls.remove(frame['id'])?.answer.completeError(Refused(frame));
      case 'welcome':
        if (!_isOpen) _welcome(data);
      case 'bye':
        throw _End(data['reconnect'] as String, 'bye: ${data['reason']}', (data['after_ms'] ?? 0) as num);
      case 'token.expiring':
        if (!_isRenewing) unawaited(_renew());
      case 'resync':
        if (_rooms.containsKey(data['room'])) _resume([data['room'] as String], () {});
      case 'chat.message' || 'chat.edited' || 'chat.deleted':
        _heard(data);
    }
  }
  void _welcome(Json data) {
    _ahead = DateTime.parse(data['server_time'] as String).difference(DateTime.now());
    _tokenEnds = DateTime.parse(data['token_expires_at'] as String);
    _resume(_rooms.keys.toList(), () {
      _isOpen = true;
      _failures = _refusals = 0;
      onState?.call('open', null);
      for (final MapEntry(:key, :value) in _calls.entries.toList()) if (!value.isOut) _write(key, value);
    });
  }
  void _again(int id, _Call call, int ms) {
    final mine = _socket;
    Timer(Duration(milliseconds: ms), () {
      if (identical(mine, _socket) && _calls.containsKey(id)) _write(id, call);
    });
  }
  Future<void> _renew() async {
    _isRenewing = true;
    try {
      final fresh = await getToken('expiring').timeout(const Duration(seconds: 30));
      _ask('auth.refresh', {'token': fresh}, (reply) {
        _token = fresh;
        _tokenEnds = DateTime.parse(reply['token_expires_at'] as String);
      });
    } catch (_) {
      // The connection lives for some time, and the next one asks again.
    } finally {
      _isRenewing = false;
    }
  }

  void _resume(List<String> names, void Function() then) {
    if (names.isEmpty) return then();
    final page = [for (final name in names.take(128)) {'room': name, if (_rooms[name] != null) 'since': _rooms[name]}];
    _ask('room.resume', {'rooms': page}, (reply) {
      final entries = (reply['rooms'] as List).cast<Json>();
      for (final entry in entries) _resumed(entry['room'] as String, entry);
      final done = {for (final entry in entries) entry['room']};
      _resume([for (final name in names) if (_rooms.containsKey(name) && (_rooms[name] == null || !done.contains(name))) name], then);
    });
  }
  void _resumed(String room, Json entry) {
    final error = entry['error'] as Json?;
    if (error?['status'] == 41000) return _rooms[room] = null; // joined afresh by the next page
    if (error != null) {
      _rooms.remove(room);
      return onGap?.call(room, error['name'] as String);
    }
    for (final event in (entry['events'] as List? ?? [])) _heard(event['data'] as Json);
    if (entry['recovered'] != true) onGap?.call(room, entry['reason'] as String? ?? 'position_lost');
    for (final message in (entry['messages'] as List? ?? [])) onMessage?.call(room, message as Json);
    _rooms[room] = _position(entry, 'offset');
  }
  void _heard(Json message) {
    final room = message['room'] as String, old = _rooms[room], fresh = _position(message, 'changed');
    if (old == null || old['epoch'] == fresh['epoch'] && (old['offset'] as int) >= (fresh['offset'] as int)) return; // it came before
    _rooms[room] = fresh;
    onMessage?.call(room, message);
  }
  Json _position(Json of, String key) => {'epoch': of['epoch'] as String, 'offset': of[key] as int};
}
