// A page of the tests: the example for Vue.

import Chat from "examples/vue/Chat.vue";
import { connect } from "gateway-client";
import { createApp, h, ref } from "vue";

const name = ref("");
let gateway;
let app;

Object.assign(window, {
  start(options) {
    gateway = connect(location.origin, options);
  },
  show(next) {
    name.value = next;
    if (app) return;
    app = createApp(() => h(Chat, { gateway, name: name.value }));
    app.mount("#root");
  },
  clear() {
    app.unmount();
    app = null;
  },
  roomState: (name) => gateway.room(name).state,
});
