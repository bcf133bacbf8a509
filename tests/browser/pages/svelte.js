// A page of the tests: the example for Svelte.

import Chat from "examples/svelte/Chat.svelte";
import { connect } from "gateway-client";
import { createClassComponent } from "svelte/legacy";

let gateway;
let app;

Object.assign(window, {
  start(options) {
    gateway = connect(location.origin, options);
  },
  show(name) {
    // The component of Svelte 4's interface, since its `$set` changes props outside of a component.
    if (app) app.$set({ name });
    else app = createClassComponent({ component: Chat, target: document.getElementById("root"), props: { gateway, name } });
  },
  clear() {
    app.$destroy();
    app = null;
  },
  roomState: (name) => gateway.room(name).state,
});
