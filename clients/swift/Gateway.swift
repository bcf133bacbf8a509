// A client of json-gateway for iOS 15 and macOS 12, to copy and to change. docs/clients.md has its rules.
// The tests of json-gateway cannot compile Swift: nothing but a reading has checked this file.

import Foundation

typealias Json = [String: Any]

struct Refused: Error { let status: Int, name: String, message: String }
struct Lost: Error { let why: String }
struct End: Error { let reconnect: String, why: String, afterMs: Double }

/// `getToken` has a time limit of its own, as a request of URLSession has.
actor Gateway {
    private struct Call { let type: String, data: Json, answer: CheckedContinuation<Json, Error>?, done: (Json) -> Void; var isOut = false, tries = 0 }
    private static let afterClose = [1000: "never", 4400: "never", 4403: "never", 1008: "new_credential", 4410: "new_credential", 4411: "new_credential"]

    private let url: URL, getToken: @Sendable (String) async throws -> String
    private let onState: (String, String?) -> Void, onMessage: (String, Json) -> Void, onGap: (String, String) -> Void
    private var calls: [Int: Call] = [:], lastId = 0, rooms: [String: Json] = [:] // the position in each room: epoch and offset
    private var socket: URLSessionWebSocketTask?, token: String?, tokenEnds = Date.distantPast, ahead = 0.0 // the gateway's clock
    private var isOpen = false, isRenewing = false, failures = 0, refusals = 0, heardAt = Date(), running: Task<Void, Never>?

    init(url: URL, getToken: @escaping @Sendable (String) async throws -> String, onState: @escaping (String, String?) -> Void = { _, _ in },
         onMessage: @escaping (String, Json) -> Void = { _, _ in }, onGap: @escaping (String, String) -> Void = { _, _ in }) {
        (self.url, self.getToken, self.onState, self.onMessage, self.onGap) = (url, getToken, onState, onMessage, onGap)
    }

    func open() { running = running ?? Task { await run() } }
    func close() { running?.cancel(); socket?.cancel(with: .normalClosure, reason: nil) }
    func check() { if isOpen { ping(socket) } } // when the scene becomes active, or NWPathMonitor sees another network
    func join(_ room: String) async throws -> Json { try await call("room.join", ["room": room]) { self.rooms[room] = Self.position($0, "offset") } }
    func send(_ room: String, _ text: String) async throws -> Json { // its client_id lets the gateway store it once
        try await call("chat.send", ["room": room, "text": text, "client_id": UUID().uuidString])
    }
    func call(_ type: String, _ data: Json = [:], done: @escaping (Json) -> Void = { _ in }) async throws -> Json {
        if running?.isCancelled ?? false { throw Lost(why: "closed by this client") }
        return try await withCheckedThrowingContinuation { add(Call(type: type, data: data, answer: $0, done: done), now: isOpen) }
    }

    private func add(_ call: Call, now: Bool) { lastId += 1; calls[lastId] = call; if now { write(lastId) } }
    private func ask(_ type: String, _ data: Json, done: @escaping (Json) -> Void = { _ in }) { add(Call(type: type, data: data, answer: nil, done: done), now: true) }
    private func write(_ id: Int) {
        calls[id]!.isOut = true
        calls[id]!.tries += 1
        let frame: Json = ["type": calls[id]!.type, "id": id, "data": calls[id]!.data]
        guard let text = try? JSONSerialization.data(withJSONObject: frame) else { return }
        socket?.send(.string(String(decoding: text, as: UTF8.self))) { _ in } // the reader notices an error
    }
    private func lose(_ why: String, _ which: (Call) -> Bool) {
        for (id, call) in calls where which(call) { calls[id] = nil; call.answer?.resume(throwing: Lost(why: why)) }
    }

    private func run() async {
        while !Task.isCancelled {
            let end = await converse()
            isOpen = false; socket?.cancel(); socket = nil
            if end.reconnect == "new_credential" { token = nil; refusals += 1 }
            if end.reconnect == "never" || refusals > 2 || Task.isCancelled { lose(end.why) { _ in true }; return onState("closed", end.why) }
            lose(end.why) { $0.isOut && $0.type != "chat.send" }
            for id in calls.keys { calls[id]!.isOut = false }
            onState("waiting", end.why)
            let jitter = Double.random(in: 0...1) * min(30_000, 1_000 * pow(2, Double(min(failures, 5))))
            failures += 1
            let wait = end.reconnect == "after_delay" && end.afterMs > 0 ? end.afterMs : max(jitter, end.afterMs)
            try? await Task.sleep(nanoseconds: UInt64(wait * 1_000_000))
        }
        lose("closed by this client") { _ in true }
        onState("closed", "closed by this client")
    }

    private func converse() async -> End {
        onState("connecting", nil)
        isRenewing = false
        do {
            if token == nil || tokenEnds < Date().addingTimeInterval(ahead + 60) { token = try await getToken(refusals > 0 ? "refused" : "connect") }
        } catch { return End(reconnect: "with_backoff", why: "getToken failed: \(error)", afterMs: 0) }
        var request = URLRequest(url: url.appendingPathComponent("ws/chat"), timeoutInterval: 15)
        request.setValue("Bearer \(token!)", forHTTPHeaderField: "Authorization")
        let mine = URLSession.shared.webSocketTask(with: request)
        mine.maximumMessageSize = 4 << 20 // the default ends the connection at 1 MiB
        socket = mine
        mine.resume()
        heardAt = Date()
        let watching = Task { while !Task.isCancelled { try? await Task.sleep(nanoseconds: 5_000_000_000); watch(mine) } }
        defer { watching.cancel() }
        do {
            while true {
                let message = try await mine.receive()
                heardAt = Date()
                if case .string(let text) = message { try hear(text) }
            }
        } catch let end as End {
            return end
        } catch {
            let code = mine.closeCode.rawValue, status = (mine.response as? HTTPURLResponse)?.statusCode ?? 0
            let why = code > 0 ? "the connection ended: \(code)" : "check the address, the token and the proxy: HTTP \(status), \(error.localizedDescription)"
            return End(reconnect: Self.afterClose[code] ?? "with_backoff", why: why, afterMs: 0)
        }
    }
    private func watch(_ mine: URLSessionWebSocketTask) {
        let silent = Date().timeIntervalSince(heardAt)
        if !isOpen && silent > 15 { mine.cancel() } else if silent > 50 { ping(mine) } // two heartbeats
    }
    private func ping(_ mine: URLSessionWebSocketTask?) {
        let asked = Date()
        ask("ping", [:])
        Task { try? await Task.sleep(nanoseconds: 5_000_000_000); if heardAt < asked { mine?.cancel() } }
    }

    private func hear(_ text: String) throws {
        guard let frame = try? JSONSerialization.jsonObject(with: Data(text.utf8)) as? Json else { return }
        let data = frame["data"] as? Json ?? [:], id = frame["id"] as? Int ?? 0
        switch frame["type"] as? String {
        case "reply": if let call = calls.removeValue(forKey: id) { call.done(data); call.answer?.resume(returning: data) }
        case "error":
            // One that went out before may be stored, so no refusal of the moment is its answer.
            if let call = calls[id], call.type == "chat.send", call.tries > 1, frame["retryable"] as? Bool == true {
                return again(id, after: frame["retry_after_ms"] as? Double ?? 1_000)
            }
            calls.removeValue(forKey: id)?.answer?.resume(throwing: Refused(
                status: frame["status"] as? Int ?? 0, name: frame["name"] as? String ?? "", message: frame["message"] as? String ?? ""))
        case "welcome": if !isOpen { welcome(data) }
        case "bye": throw End(reconnect: data["reconnect"] as? String ?? "with_backoff", why: "bye: \(data["reason"] ?? "")", afterMs: max(0, data["after_ms"] as? Double ?? 0))
        case "token.expiring": if !isRenewing { isRenewing = true; Task { await renew() } }
        case "resync": if let room = data["room"] as? String, rooms[room] != nil { resume([room]) {} }
        case "chat.message", "chat.edited", "chat.deleted": heard(data)
        default: break // of a later version, or nonsense
        }
    }
    private static func time(_ data: Json, _ key: String) -> Date {
        let format = ISO8601DateFormatter()
        format.formatOptions = [.withInternetDateTime, .withFractionalSeconds]
        return format.date(from: data[key] as? String ?? "") ?? .distantFuture
    }
    private func welcome(_ data: Json) {
        ahead = Self.time(data, "server_time").timeIntervalSinceNow
        tokenEnds = Self.time(data, "token_expires_at")
        resume(Array(rooms.keys)) {
            (self.isOpen, self.failures, self.refusals) = (true, 0, 0)
            self.onState("open", nil)
            for id in self.calls.keys.sorted() where !self.calls[id]!.isOut { self.write(id) }
        }
    }
    private func again(_ id: Int, after ms: Double) {
        let mine = socket
        Task {
            try? await Task.sleep(nanoseconds: UInt64(min(max(ms, 0), 60_000) * 1_000_000))
            if mine === socket && calls[id] != nil { write(id) }
        }
    }
    private func renew() async {
        defer { isRenewing = false }
        guard let new = try? await getToken("expiring") else { return }
        ask("auth.refresh", ["token": new]) { self.token = new; self.tokenEnds = Self.time($0, "token_expires_at") }
    }
    private func resume(_ names: [String], then: @escaping () -> Void) {
        if names.isEmpty { return then() }
        let page = names.prefix(128).map { name in rooms[name].flatMap { $0.isEmpty ? nil : ["room": name, "since": $0] } ?? ["room": name] as Json }
        ask("room.resume", ["rooms": page]) { reply in
            let entries = reply["rooms"] as? [Json] ?? []
            for entry in entries { self.resumed(entry["room"] as? String ?? "", entry) }
            let done = Set(entries.compactMap { $0["room"] as? String })
            self.resume(names.filter { self.rooms[$0] != nil && (self.rooms[$0]!.isEmpty || !done.contains($0)) }, then: then)
        }
    }
    private func resumed(_ room: String, _ entry: Json) {
        if let error = entry["error"] as? Json {
            if error["status"] as? Int == 41000 { rooms[room] = [:] } // joined afresh by the next page
            else { rooms[room] = nil; onGap(room, error["name"] as? String ?? "") }
            return
        }
        for event in entry["events"] as? [Json] ?? [] { heard(event["data"] as? Json ?? [:]) }
        if entry["recovered"] as? Bool != true { onGap(room, entry["reason"] as? String ?? "position_lost") }
        for message in entry["messages"] as? [Json] ?? [] { onMessage(room, message) }
        rooms[room] = Self.position(entry, "offset")
    }
    private func heard(_ message: Json) {
        guard let room = message["room"] as? String, let old = rooms[room], let new = Self.position(message, "changed") else { return }
        if old["epoch"] as? String == new["epoch"] as? String, (old["offset"] as? Int ?? 0) >= new["offset"] as! Int { return } // it came before
        rooms[room] = new
        onMessage(room, message)
    }
    private static func position(_ of: Json, _ key: String) -> Json? {
        guard let epoch = of["epoch"] as? String, let offset = of[key] as? Int else { return nil }
        return ["epoch": epoch, "offset": offset]
    }
}
