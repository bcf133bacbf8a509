// A client of json-gateway for Android and the JVM, to copy and to change. docs/clients.md has its rules.

import java.time.*
import java.util.UUID
import java.util.concurrent.*
import kotlin.concurrent.thread
import kotlin.random.Random
import okhttp3.*
import org.json.*

class Refused(val status: Int, val name: String, message: String) : Exception(message)
class Lost(message: String) : Exception(message)
private class End(val reconnect: String, why: String, val afterMs: Long = 0) : Exception(why)
private class Call(val type: String, val data: JSONObject, val done: (JSONObject) -> Unit) {
    val id = "${UUID.randomUUID()}"
    val answer = CompletableFuture<JSONObject>()
    var isOut = false; var tries = 0
}

/** One thread does all the work, and calls the three listeners. Only tests need `scale`, which shortens the waits. */
class Gateway(private val url: String, private val scale: Double = 1.0, private val getToken: (reason: String) -> String) {
    var onState: (state: String, why: String?) -> Unit = { _, _ -> }
    var onMessage: (room: String, message: JSONObject) -> Unit = { _, _ -> }
    var onGap: (room: String, reason: String) -> Unit = { _, _ -> }
    private val http = OkHttpClient()
    private val inbox = LinkedBlockingQueue<() -> Unit>()
    private val calls = LinkedHashMap<String, Call>() // the ones without an answer, in their order
    private val rooms = LinkedHashMap<String, JSONObject?>() // the position in each: its epoch and offset
    private var socket: WebSocket? = null; private var token: String? = null
    private var tokenEnds = Instant.MIN // by the gateway's clock, which may be `ahead` of ours
    private var ahead = Duration.ZERO
    private var isOpen = false; private var isRenewing = false
    private var isChecked = false // whether the gateway has until `deadline` to send anything
    private var deadline = 0L
    private var failures = 0; private var refusals = 0
    private val worker = thread(start = false, isDaemon = true) {
        try { while (true) come() } catch (over: Exception) { finish(over.message ?: "closed by this client") }
    }

    fun open() = worker.start()
    fun close() = worker.interrupt().also { worker.join() }
    fun check() = inbox.add { if (!isChecked) ping() } // in the foreground again, or on another network
    fun join(room: String) = call("room.join", JSONObject().put("room", room)) { rooms[room] = position(it, "offset") }
    fun leave(room: String) = call("room.leave", JSONObject().put("room", room)) { rooms.remove(room) }
    fun send(room: String, text: String) = // its `client_id` lets the gateway store it once, however often it goes out
        call("chat.send", JSONObject().put("room", room).put("text", text).put("client_id", "${UUID.randomUUID()}"))
    fun call(type: String, data: JSONObject = JSONObject(), done: (JSONObject) -> Unit = {}): CompletableFuture<JSONObject> {
        val call = Call(type, data, done)
        inbox.add { calls[call.id] = call; if (isOpen) write(call) }
        return call.answer
    }

    private fun come() {
        val end = try { converse() } catch (end: End) { end }
        socket?.cancel()
        lose("${end.message}") { it.isOut && it.type != "chat.send" }
        if (end.reconnect == "never" || end.reconnect == "new_credential" && refusals++ == 2) throw end
        if (end.reconnect == "new_credential") token = null
        onState("waiting", end.message)
        val jitter = Random.nextDouble() * minOf(30_000.0, 1_000.0 * (1 shl minOf(failures++, 5))) * scale
        Thread.sleep(if (end.reconnect == "after_delay" && end.afterMs > 0) end.afterMs else maxOf(jitter.toLong(), end.afterMs))
    }

    private fun converse(): End {
        onState("connecting", null)
        isOpen = false; isRenewing = false; calls.values.forEach { it.isOut = false }
        if (token == null || tokenEnds < Instant.now() + ahead + Duration.ofMinutes(1)) token = fetch(if (refusals > 0) "refused" else "connect")
        expect(15_000) // the welcome
        val request = try { Request.Builder().url("$url/ws/chat").addHeader("Authorization", "Bearer $token").build() }
            catch (wrong: IllegalArgumentException) { return End("never", "check the address and the token: ${wrong.message}") }
        socket = http.newWebSocket(request, object : WebSocketListener() {
            fun mine(from: WebSocket, work: () -> Unit) { inbox.add { if (from === socket) work() } }
            override fun onMessage(webSocket: WebSocket, text: String) = mine(webSocket) { take(text) }
            override fun onClosing(webSocket: WebSocket, code: Int, reason: String) =
                mine(webSocket) { throw End(AFTER_CLOSE[code] ?: "with_backoff", "the connection ended: $code $reason") }
            override fun onFailure(webSocket: WebSocket, t: Throwable, response: Response?) =
                mine(webSocket) { throw End("with_backoff", "check the address, the token and the proxy: ${response ?: t}") }
        })
        while (true) {
            val work = inbox.poll(deadline - System.currentTimeMillis(), TimeUnit.MILLISECONDS)
            if (work != null) work() else if (isChecked) return End("with_backoff", "the gateway is silent") else ping()
        }
    }

    private fun fetch(reason: String) = try {
        CompletableFuture.supplyAsync { getToken(reason) }.get((30_000 * scale).toLong(), TimeUnit.MILLISECONDS)
    } catch (failed: ExecutionException) { throw End("with_backoff", "getToken failed: ${failed.cause?.message}") }
      catch (late: TimeoutException) { throw End("with_backoff", "getToken took too long") }

    private fun expect(ms: Long) { isChecked = true; deadline = System.currentTimeMillis() + (ms * scale).toLong() }
    private fun rest() { expect(50_000); isChecked = false } // two heartbeats without a word
    private fun ping() { expect(5_000); ask("ping", JSONObject()) {} }
    private fun ask(type: String, data: JSONObject, done: (JSONObject) -> Unit) = Call(type, data, done).let { calls[it.id] = it; write(it) }
    private fun write(call: Call) {
        call.isOut = true; call.tries += 1
        socket?.send(JSONObject().put("type", call.type).put("id", call.id).put("data", call.data).toString())
    }
    private fun lose(why: String, which: (Call) -> Boolean) =
        calls.values.filter(which).forEach { calls.remove(it.id); it.answer.completeExceptionally(Lost(why)) }
    private fun finish(why: String) {
        socket?.close(1000, null)
        while (true) (inbox.poll() ?: break).let { runCatching(it) } // a call that has only just been made
        lose(why) { true }
        onState("closed", why)
    }

    private fun take(text: String) {
        if (isOpen) rest()
        try { hear(JSONObject(text)) } catch (nonsense: JSONException) { System.err.println("ignored $text: $nonsense") }
    }
    private fun hear(frame: JSONObject) {
        val data = frame.optJSONObject("data") ?: JSONObject()
        when (frame.getString("type")) {
            "reply" -> calls.remove(frame.optString("id"))?.run { done(data); answer.complete(data) }
            "error" -> calls[frame.optString("id")]?.run {
                // One that went out before may be stored, so no refusal of the moment is its answer.
                if (type == "chat.send" && tries > 1 && frame.optBoolean("retryable")) return again(this, frame.optLong("retry_after_ms", 1_000))
                calls.remove(id)?.answer?.completeExceptionally(Refused(frame.optInt("status"), frame.optString("name"), frame.optString("message")))
            }
            "welcome" -> if (!isOpen) welcome(data)
            "bye" -> throw End(data.getString("reconnect"), "bye: ${data.getString("reason")}", data.optLong("after_ms"))
            "token.expiring" -> if (!isRenewing) renew()
            "resync" -> data.getString("room").let { if (it in rooms) resume(listOf(it)) {} }
            "chat.message", "chat.edited", "chat.deleted" -> heard(data)
        }
    }
    private fun again(call: Call, ms: Long) = socket.let { mine ->
        CompletableFuture.delayedExecutor(ms, TimeUnit.MILLISECONDS).execute { inbox.add { if (mine === socket && call.id in calls) write(call) } }
    }
    private fun welcome(data: JSONObject) {
        ahead = Duration.between(Instant.now(), Instant.parse(data.getString("server_time")))
        tokenEnds = Instant.parse(data.getString("token_expires_at"))
        resume(rooms.keys.toList()) {
            isOpen = true; failures = 0; refusals = 0
            rest()
            onState("open", null)
            calls.values.filter { !it.isOut }.forEach(::write)
        }
    }
    private fun renew() = try {
        isRenewing = true
        fetch("expiring").let { new -> ask("auth.refresh", JSONObject().put("token", new)) { token = new; tokenEnds = Instant.parse(it.getString("token_expires_at")); isRenewing = false } }
    } catch (later: End) { isRenewing = false }

    private fun resume(names: List<String>, then: () -> Unit) {
        if (names.isEmpty()) return then()
        val page = names.take(128).map { JSONObject().put("room", it).put("since", rooms[it]) }
        ask("room.resume", JSONObject().put("rooms", JSONArray(page))) { reply ->
            val entries = reply.getJSONArray("rooms").map { it as JSONObject }
            entries.forEach { resumed(it.getString("room"), it) }
            resume(names.filter { name -> name in rooms && (rooms[name] == null || entries.none { it["room"] == name }) }, then)
        }
    }
    private fun resumed(room: String, entry: JSONObject) {
        val error = entry.optJSONObject("error")
        if (error?.optInt("status") == 41000) return rooms.set(room, null) // joined afresh by the next page
        if (error != null) { rooms.remove(room); return onGap(room, error.optString("name")) }
        entry.optJSONArray("events")?.forEach { heard((it as JSONObject).getJSONObject("data")) }
        if (!entry.optBoolean("recovered")) onGap(room, entry.optString("reason", "position_lost"))
        entry.optJSONArray("messages")?.forEach { onMessage(room, it as JSONObject) }
        rooms[room] = position(entry, "offset")
    }
    private fun heard(message: JSONObject) {
        val (room, new) = message.getString("room") to position(message, "changed")
        val old = rooms[room] ?: return
        if (old["epoch"] == new["epoch"] && old.getLong("offset") >= new.getLong("offset")) return // it came before
        rooms[room] = new
        onMessage(room, message)
    }
    private fun position(of: JSONObject, key: String) = JSONObject().put("epoch", of.getString("epoch")).put("offset", of.getLong(key))
}

private val AFTER_CLOSE = mapOf(1000 to "never", 4400 to "never", 4403 to "never") + listOf(1008, 4410, 4411).associateWith { "new_credential" }
