// Talks in a room: java … ExampleKt http://127.0.0.1:8000 alice PASSWORD lobby. Each line of the input is a message.

import kotlin.system.exitProcess
import okhttp3.FormBody
import okhttp3.OkHttpClient
import okhttp3.Request
import org.json.JSONObject

/** Log in, and return a token. An app would keep the refresh token and ask with that. */
fun logIn(url: String, user: String, password: String): String {
    val form = FormBody.Builder().add("username", user).add("password", password).build()
    OkHttpClient().newCall(Request.Builder().url("$url/token").post(form).build()).execute().use { answer ->
        val body = JSONObject(answer.body.string())
        check(answer.isSuccessful) { body.getString("message") }
        return body.getString("access_token")
    }
}

fun main(args: Array<String>) {
    val (url, user, password, room) = args
    val gateway = Gateway(url) { logIn(url, user, password) }
    gateway.onState = { state, why -> System.err.println(listOfNotNull(state, why).joinToString(": ")) }
    gateway.onMessage = { _, message -> println("${message.getString("sender")}: ${message.optString("text")}") }
    gateway.onGap = { name, reason -> println("a hole in $name: $reason") }
    gateway.open()
    println("joined at ${gateway.join(room).get().getLong("offset")}")
    for (line in generateSequence(::readLine)) gateway.send(room, line).get()
    gateway.close()
    exitProcess(0) // the threads of OkHttp would live on for a minute
}
