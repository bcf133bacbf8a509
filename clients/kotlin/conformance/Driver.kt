// The driver of the Kotlin example for `gateway conformance`. docs/conformance.md has its protocol.

import java.util.concurrent.*
import kotlin.system.exitProcess
import org.json.*

private val CAPABILITIES = listOf("tokens", "rooms", "sends", "foreground", "silence", "why")

private val requests = ConcurrentHashMap<Int, CompletableFuture<String>>()
private var gateway: Gateway? = null

fun main() {
    for (line in generateSequence(::readLine)) {
        val command = JSONObject(line)
        val data = command.getJSONObject("data")
        if (command.getString("type") == "token") takeToken(data) else obey(command.getInt("id"), command.getString("type"), data)
    }
    exitProcess(0)
}

private fun obey(id: Int, type: String, data: JSONObject) {
    val there = gateway
    when (type) {
        "hello" -> write("reply", JSONObject().put("client", "Kotlin with OkHttp").put("capabilities", CAPABILITIES), id)
        "connect" -> connect(data).also { write("reply", JSONObject(), id) }
        "call" -> answer(id, there!!.call(data.getString("type"), data.getJSONObject("data")))
        "join" -> answer(id, there!!.join(data.getString("room")))
        "leave" -> answer(id, there!!.leave(data.getString("room")))
        "send" -> answer(id, there!!.send(data.getString("room"), data.getString("text")))
        "foreground" -> there!!.check().also { write("reply", JSONObject(), id) }
        "close" -> there?.close().also { gateway = null; write("reply", JSONObject(), id) }
        else -> write("error", JSONObject().put("kind", "fault").put("message", "no $type"), id)
    }
}

private fun connect(data: JSONObject) {
    gateway = Gateway(data.getString("url"), data.getDouble("scale"), ::getToken).apply {
        onState = { state, why -> write("state", JSONObject().put("state", state).put("why", words(why))) }
        onMessage = { room, message -> write("message", JSONObject().put("room", room).put("data", message)) }
        onGap = { room, reason -> write("gap", JSONObject().put("room", room).put("reason", reason)) }
        open()
    }
}

/** The last word is that of the gateway's `bye`. */
private fun words(why: String?) = why?.let { JSONObject().put("message", it).put("reason", it.substringAfterLast(' ')) } ?: JSONObject.NULL

private fun getToken(reason: String): String {
    val request = requests.size + 1
    val token = CompletableFuture<String>()
    requests[request] = token
    write("token", JSONObject().put("request", request).put("reason", reason))
    return token.get()
}

private fun takeToken(data: JSONObject) {
    val token = requests[data.getInt("request")]!!
    if (data.has("token")) token.complete(data.getString("token")) else token.completeExceptionally(RuntimeException(data.getString("error")))
}

private fun answer(id: Int, future: CompletableFuture<JSONObject>) {
    future.whenComplete { reply, error ->
        when (error) {
            null -> write("reply", reply, id)
            is Refused -> write("error", JSONObject().put("kind", "refused").put("status", error.status).put("name", error.name), id)
            is Lost -> write("error", JSONObject().put("kind", "lost"), id)
            else -> write("error", JSONObject().put("kind", "fault").put("message", "$error"), id)
        }
    }
}

@Synchronized
private fun write(type: String, data: Any, id: Int? = null) = println(JSONObject().put("type", type).put("id", id).put("data", data))
