CREATE TABLE public.group_members (
    group_name text NOT NULL,
    user_id text NOT NULL
);
CREATE TABLE public.groups (
    name text NOT NULL,
    room_rights text NOT NULL,
    version bigint DEFAULT '0'::bigint NOT NULL
);
CREATE TABLE public.invitations (
    room_id integer NOT NULL,
    user_id text NOT NULL,
    inviter_id text NOT NULL,
    invited_at bigint NOT NULL
);
ALTER TABLE ONLY public.invitations ALTER COLUMN room_id SET (n_distinct=-0.01);
CREATE TABLE public.json_gateway_version (
    version_num character varying(32) NOT NULL
);
CREATE TABLE public.login_sessions (
    id text NOT NULL,
    user_id text NOT NULL,
    scopes text NOT NULL,
    family_hash text,
    refresh_hash text,
    previous_hash text,
    nonce text,
    created_at bigint NOT NULL,
    last_used_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    ended_at bigint,
    address text,
    user_agent text
);
CREATE TABLE public.memberships (
    room_id integer NOT NULL,
    user_id text NOT NULL,
    role text NOT NULL,
    joined_at bigint NOT NULL,
    read bigint DEFAULT '0'::bigint NOT NULL,
    user_name text DEFAULT ''::text NOT NULL,
    room_name text DEFAULT ''::text NOT NULL
);
ALTER TABLE ONLY public.memberships ALTER COLUMN room_id SET (n_distinct=-0.01);
ALTER TABLE ONLY public.memberships ALTER COLUMN user_id SET (n_distinct=-0.01);
CREATE TABLE public.messages (
    room_id integer NOT NULL,
    "offset" bigint NOT NULL,
    changed bigint NOT NULL,
    sender_id text NOT NULL,
    text text,
    body text,
    reply_to bigint,
    client_id text,
    sent_at bigint NOT NULL,
    edited_at bigint,
    deleted_at bigint,
    grown_at bigint,
    done boolean DEFAULT false NOT NULL
);
ALTER TABLE ONLY public.messages ALTER COLUMN room_id SET (n_distinct=-0.01);
CREATE TABLE public.outgoing_events (
    id bigint NOT NULL,
    webhook text NOT NULL,
    stream text NOT NULL,
    event_id text NOT NULL,
    type text NOT NULL,
    data text NOT NULL,
    room_id integer,
    "offset" bigint,
    due_at bigint DEFAULT '0'::bigint NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    parked_at bigint,
    created_at bigint NOT NULL
);
CREATE SEQUENCE public.outgoing_events_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.outgoing_events_id_seq OWNED BY public.outgoing_events.id;
CREATE TABLE public.rooms (
    id integer NOT NULL,
    name text NOT NULL,
    title text,
    private boolean NOT NULL,
    direct boolean DEFAULT false NOT NULL,
    epoch text NOT NULL,
    "offset" bigint NOT NULL,
    pruned bigint DEFAULT '0'::bigint NOT NULL,
    created_at bigint NOT NULL,
    departures bigint DEFAULT '0'::bigint NOT NULL,
    stored_bytes bigint DEFAULT '0'::bigint NOT NULL,
    left_by text,
    removed_at bigint,
    arrivals bigint DEFAULT '0'::bigint NOT NULL,
    oldest_at bigint DEFAULT '0'::bigint NOT NULL,
    vacant bigint DEFAULT '0'::bigint NOT NULL,
    kept boolean DEFAULT false NOT NULL,
    signals boolean DEFAULT true NOT NULL
);
CREATE SEQUENCE public.rooms_id_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.rooms_id_seq OWNED BY public.rooms.id;
CREATE TABLE public.service_keys (
    id text NOT NULL,
    user_id text NOT NULL,
    hash text NOT NULL,
    created_at bigint NOT NULL,
    last_used_at bigint,
    expires_at bigint,
    revoked_at bigint
);
CREATE TABLE public.services (
    user_id text NOT NULL,
    name text NOT NULL,
    kind text NOT NULL,
    scopes text NOT NULL,
    rooms text,
    room text,
    created_at bigint NOT NULL,
    deleted_at bigint
);
CREATE TABLE public.tickets (
    hash text NOT NULL,
    user_id text NOT NULL,
    service text NOT NULL,
    sid text,
    scopes text NOT NULL,
    token_expires_at bigint NOT NULL,
    expires_at bigint NOT NULL,
    room_rights text,
    claims text
);
CREATE TABLE public.users (
    id text NOT NULL,
    name text NOT NULL,
    password_hash text NOT NULL,
    full_name text,
    email text,
    scopes text NOT NULL,
    disabled boolean NOT NULL,
    created_at bigint NOT NULL,
    last_seen_at bigint,
    disabled_at bigint,
    stored_bytes bigint DEFAULT '0'::bigint NOT NULL,
    room_rights text
);
CREATE TABLE public.webhook_presence (
    webhook text NOT NULL,
    kind text NOT NULL,
    name text NOT NULL
);
CREATE TABLE public.webhooks (
    name text NOT NULL,
    owner text DEFAULT ''::text NOT NULL,
    beat bigint DEFAULT '0'::bigint NOT NULL,
    disabled_at bigint,
    failed_at bigint,
    last_error text
);
ALTER TABLE ONLY public.outgoing_events ALTER COLUMN id SET DEFAULT nextval('public.outgoing_events_id_seq'::regclass);
ALTER TABLE ONLY public.rooms ALTER COLUMN id SET DEFAULT nextval('public.rooms_id_seq'::regclass);
INSERT INTO public.group_members VALUES ('staff', '1b90e2c21d16c1f180b736c4f6e80d3e');
INSERT INTO public.groups VALUES ('staff', '[{"lobby":["join","send"]}]', 2);
INSERT INTO public.invitations VALUES (2, '41c964a5cd7538cf4b781613224bec85', '129b981eef60c4d68cc638bdb1bec36e', 1796070841265);
INSERT INTO public.invitations VALUES (3, '41c964a5cd7538cf4b781613224bec85', '129b981eef60c4d68cc638bdb1bec36e', 1796070841282);
INSERT INTO public.json_gateway_version VALUES ('gateway_0020');
INSERT INTO public.login_sessions VALUES ('f45dd3c6769a9398', '7bc5ead2714c8ae5d7340017265f53be', 'api:publish api:rooms', NULL, NULL, NULL, NULL, 1796070841037, 1796070841037, 9007199254740992, NULL, NULL, NULL);
INSERT INTO public.login_sessions VALUES ('3ffd0d791e945dd8', '557a0251e9eecedef21da6d9ee202b5a', '', NULL, NULL, NULL, NULL, 1796070841073, 1796070841073, 9007199254740992, NULL, NULL, NULL);
INSERT INTO public.login_sessions VALUES ('yH0oDeR2uIQZWM_6tpsHAw', '129b981eef60c4d68cc638bdb1bec36e', 'chat:read chat:write rooms:manage', 'ac0cae993adaa035d4c8c2c9c2366f3167c529b43a6eb2ac21b887ec9d6c72ed', 'fed27e06e5b22565fa5ebca96ea3e841f90d13dd5c6d6c2a04e958757294a1de', NULL, NULL, 1796070841106, 1796070841106, 1798662841106, NULL, '127.0.0.1', 'python-httpx2/2.16.2');
INSERT INTO public.login_sessions VALUES ('X5RuiXQiCNPwQAojNzbfWg', '129b981eef60c4d68cc638bdb1bec36e', 'chat:read chat:write rooms:manage', 'c318fa915abe551807600f87fe610fdf3ec656d8073067f30759638fcff7b413', '5739b83fae16d1f898566410068e1c0f5bef831da06bc963a5f12613486b5f84', NULL, NULL, 1796070841121, 1796070841121, 1798662841121, NULL, '127.0.0.1', 'python-httpx2/2.16.2');
INSERT INTO public.login_sessions VALUES ('iYIJkamfP4Ml7wWnH9sPLw', '41c964a5cd7538cf4b781613224bec85', 'chat:read chat:write rooms:manage', '07c71b01f692bae7bec6dec9be6d7312d9189f9df2f6be8798236cf7dc67de81', '46edefa192dd658c61884cbbd1277455194d83a8dbc46caff94feaa97995e806', NULL, NULL, 1796070841169, 1796070841169, 1798662841169, NULL, '127.0.0.1', 'python-httpx2/2.16.2');
INSERT INTO public.login_sessions VALUES ('mRFknLQLdR9kD-RruZE2Sw', '129b981eef60c4d68cc638bdb1bec36e', 'chat:read chat:write rooms:manage', 'a838e117743c188d93fba41ab1e5cca6ac0da4a896a7ceb85caf63794bb2ebe3', '0a6f4780ce940db81dff9e0f24bdeed86ab43081246bf2963e96b0796e118e82', NULL, NULL, 1796070841380, 1796070841380, 1798662841380, NULL, '127.0.0.1', 'python-httpx2/2.16.2');
INSERT INTO public.memberships VALUES (1, '129b981eef60c4d68cc638bdb1bec36e', 'owner', 1796070841147, 0, 'alice', 'lobby');
INSERT INTO public.memberships VALUES (1, '41c964a5cd7538cf4b781613224bec85', 'member', 1796070841176, 2, 'bob', 'lobby');
INSERT INTO public.memberships VALUES (2, '129b981eef60c4d68cc638bdb1bec36e', 'owner', 1796070841245, 0, 'alice', 'garden');
INSERT INTO public.memberships VALUES (3, '129b981eef60c4d68cc638bdb1bec36e', 'member', 1796070841273, 0, 'alice', 'dm-cdb860955553f0960ca123986906a227');
INSERT INTO public.messages VALUES (1, 1, 1, '129b981eef60c4d68cc638bdb1bec36e', 'hello', NULL, NULL, 'c-0', 1796070841186, NULL, NULL, NULL, false);
INSERT INTO public.messages VALUES (1, 4, 4, '129b981eef60c4d68cc638bdb1bec36e', '\N 	 end', NULL, NULL, 'c-3', 1796070841216, NULL, NULL, NULL, false);
INSERT INTO public.messages VALUES (1, 5, 5, '41c964a5cd7538cf4b781613224bec85', NULL, '{"big":12345678901234567890,"small":1.5e-9,"deep":[[[]],{"":null}]}', 1, NULL, 1796070841228, NULL, NULL, NULL, false);
INSERT INTO public.messages VALUES (1, 2, 6, '129b981eef60c4d68cc638bdb1bec36e', 'edited', NULL, NULL, 'c-1', 1796070841199, 1796070841232, NULL, NULL, false);
INSERT INTO public.messages VALUES (1, 3, 7, '129b981eef60c4d68cc638bdb1bec36e', NULL, NULL, NULL, 'c-2', 1796070841209, NULL, 1796070841238, NULL, false);
INSERT INTO public.messages VALUES (1, 8, 9, '129b981eef60c4d68cc638bdb1bec36e', 'it grows and grows', NULL, NULL, NULL, 1796070841241, NULL, NULL, 1796070841243, true);
INSERT INTO public.messages VALUES (2, 1, 1, '129b981eef60c4d68cc638bdb1bec36e', 'nobody else is here', NULL, NULL, NULL, 1796070841248, NULL, NULL, NULL, false);
INSERT INTO public.messages VALUES (3, 1, 1, '129b981eef60c4d68cc638bdb1bec36e', 'between us', NULL, NULL, NULL, 1796070841287, NULL, NULL, NULL, false);
INSERT INTO public.messages VALUES (4, 1, 1, '41c964a5cd7538cf4b781613224bec85', 'left behind', NULL, NULL, NULL, 1796070841293, NULL, NULL, NULL, false);
INSERT INTO public.messages VALUES (1, 10, 10, '7bc5ead2714c8ae5d7340017265f53be', NULL, '{"big":12345678901234567890,"small":1.5e-9,"deep":[[[]],{"":null}]}', NULL, 'o-1', 1796070841357, NULL, NULL, NULL, false);
INSERT INTO public.outgoing_events VALUES (1, 'archive', 'room:lobby', 'msg_1', 'message.stored', '{"message":{"room":"lobby","sender":"alice","text":"hello"}}', NULL, NULL, 9000000000000, 0, NULL, 1700000000000);
INSERT INTO public.rooms VALUES (2, 'garden', 'Garten ☃', true, false, 'fczlwNXN', 1, 0, 1796070841245, 0, 219, NULL, NULL, 1, 1796070841245, 0, false, false);
INSERT INTO public.rooms VALUES (3, 'dm-cdb860955553f0960ca123986906a227', NULL, true, true, 'xbgu_zHG', 1, 0, 1796070841273, 0, 210, NULL, NULL, 1, 0, 0, false, true);
INSERT INTO public.rooms VALUES (4, 'attic', NULL, false, false, 'hzl7ET7G', 1, 0, 1796070841289, 1, 211, '41c964a5cd7538cf4b781613224bec85', NULL, 1, 1796070841289, 0, false, true);
INSERT INTO public.rooms VALUES (1, 'lobby', NULL, false, false, 'bZxXUkOR', 10, 0, 1796070841147, 0, 1571, NULL, NULL, 2, 1796070841147, 0, false, true);
INSERT INTO public.service_keys VALUES ('3ffd0d791e945dd8', '557a0251e9eecedef21da6d9ee202b5a', 'aff909c89f7de382262b321ec36c957de105f35780f59858b298984dc45886cb', 1796070841073, NULL, NULL, NULL);
INSERT INTO public.service_keys VALUES ('f45dd3c6769a9398', '7bc5ead2714c8ae5d7340017265f53be', 'f224194a2009da081f3bf85fed5b23e04da7cf2b8af51ef6d69daeecfc17d647', 1796070841037, 1796070841353, NULL, NULL);
INSERT INTO public.services VALUES ('7bc5ead2714c8ae5d7340017265f53be', 'orders', 'service', 'api:publish api:rooms', NULL, NULL, 1796070841037, NULL);
INSERT INTO public.services VALUES ('557a0251e9eecedef21da6d9ee202b5a', 'alarms', 'hook', '', NULL, 'lobby', 1796070841073, NULL);
INSERT INTO public.users VALUES ('557a0251e9eecedef21da6d9ee202b5a', 'service:alarms', '', NULL, NULL, '', false, 1796070841073, NULL, NULL, 0, NULL);
INSERT INTO public.users VALUES ('1b90e2c21d16c1f180b736c4f6e80d3e', 'carol', '$bcrypt-sha256$v=2,t=2b,r=4$hxz9iq0XlaF7tP6hUeXAT.$bn46Yv5HLy645EO1VsNq/q0iDbfkHCm', NULL, NULL, 'chat:read chat:write rooms:manage', true, 1796070841307, NULL, 1700000000000, 0, '[{"lobby":["join","send"]}]');
INSERT INTO public.users VALUES ('7bc5ead2714c8ae5d7340017265f53be', 'service:orders', '', NULL, NULL, 'api:publish api:rooms', false, 1796070841037, NULL, NULL, 267, NULL);
INSERT INTO public.users VALUES ('129b981eef60c4d68cc638bdb1bec36e', 'alice', '$bcrypt-sha256$v=2,t=2b,r=4$oI1DKqa7h8PudUtSOgumNu$aBJce7DoC52ZkH9Hz0YYq/2.s.TUlqS', NULL, NULL, 'chat:read chat:write rooms:manage', false, 1796070841090, 1796070841457, NULL, 1466, NULL);
INSERT INTO public.users VALUES ('41c964a5cd7538cf4b781613224bec85', 'bob', '$bcrypt-sha256$v=2,t=2b,r=4$NgVewdGUWftSMfrb2JVe9O$ZWmfw1GE0nqiXaCYf3I/vHPjD5qqQzK', NULL, NULL, 'chat:read chat:write rooms:manage', false, 1796070841165, 1796070841298, NULL, 478, NULL);
SELECT pg_catalog.setval('public.outgoing_events_id_seq', 1, true);
SELECT pg_catalog.setval('public.rooms_id_seq', 4, true);
ALTER TABLE ONLY public.group_members
    ADD CONSTRAINT group_members_pkey PRIMARY KEY (group_name, user_id);
ALTER TABLE ONLY public.groups
    ADD CONSTRAINT groups_pkey PRIMARY KEY (name);
ALTER TABLE ONLY public.invitations
    ADD CONSTRAINT invitations_pkey PRIMARY KEY (room_id, user_id);
ALTER TABLE ONLY public.json_gateway_version
    ADD CONSTRAINT json_gateway_version_pkc PRIMARY KEY (version_num);
ALTER TABLE ONLY public.login_sessions
    ADD CONSTRAINT login_sessions_family_hash_key UNIQUE (family_hash);
ALTER TABLE ONLY public.login_sessions
    ADD CONSTRAINT login_sessions_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.memberships
    ADD CONSTRAINT memberships_pkey PRIMARY KEY (room_id, user_id);
ALTER TABLE ONLY public.messages
    ADD CONSTRAINT messages_pkey PRIMARY KEY (room_id, "offset");
ALTER TABLE ONLY public.messages
    ADD CONSTRAINT messages_room_id_changed_key UNIQUE (room_id, changed);
ALTER TABLE ONLY public.outgoing_events
    ADD CONSTRAINT outgoing_events_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.rooms
    ADD CONSTRAINT rooms_name_key UNIQUE (name);
ALTER TABLE ONLY public.rooms
    ADD CONSTRAINT rooms_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.service_keys
    ADD CONSTRAINT service_keys_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.services
    ADD CONSTRAINT services_name_key UNIQUE (name);
ALTER TABLE ONLY public.services
    ADD CONSTRAINT services_pkey PRIMARY KEY (user_id);
ALTER TABLE ONLY public.tickets
    ADD CONSTRAINT tickets_pkey PRIMARY KEY (hash);
ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_name_key UNIQUE (name);
ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);
ALTER TABLE ONLY public.webhook_presence
    ADD CONSTRAINT webhook_presence_pkey PRIMARY KEY (webhook, kind, name);
ALTER TABLE ONLY public.webhooks
    ADD CONSTRAINT webhooks_pkey PRIMARY KEY (name);
CREATE INDEX groups_by_version ON public.groups USING btree (version);
CREATE INDEX groups_of_user ON public.group_members USING btree (user_id);
CREATE INDEX invitations_by_inviter ON public.invitations USING btree (inviter_id);
CREATE INDEX invitations_of_user ON public.invitations USING btree (user_id);
CREATE INDEX ix_tickets_expires_at ON public.tickets USING btree (expires_at);
CREATE INDEX ix_tickets_user_id ON public.tickets USING btree (user_id);
CREATE INDEX login_sessions_by_end ON public.login_sessions USING btree (ended_at) WHERE (ended_at IS NOT NULL);
CREATE INDEX login_sessions_by_expiry ON public.login_sessions USING btree (expires_at);
CREATE INDEX login_sessions_of_user ON public.login_sessions USING btree (user_id);
CREATE INDEX memberships_by_role ON public.memberships USING btree (room_id, role, joined_at) WHERE (joined_at >= 0);
CREATE INDEX memberships_by_room_name ON public.memberships USING btree (user_id, room_name);
CREATE INDEX memberships_by_user_name ON public.memberships USING btree (room_id, user_name) WHERE (joined_at >= 0);
CREATE INDEX memberships_of_user ON public.memberships USING btree (user_id, role);
CREATE INDEX messages_by_client_id ON public.messages USING btree (room_id, sender_id, client_id) WHERE (client_id IS NOT NULL);
CREATE INDEX outgoing_events_by_due ON public.outgoing_events USING btree (webhook, due_at, id) WHERE (parked_at IS NULL);
CREATE INDEX outgoing_events_of_stream ON public.outgoing_events USING btree (webhook, stream, id) WHERE (parked_at IS NULL);
CREATE INDEX outgoing_events_parked ON public.outgoing_events USING btree (webhook) WHERE (parked_at IS NOT NULL);
CREATE INDEX public_rooms ON public.rooms USING btree (name) WHERE (NOT private);
CREATE INDEX rooms_by_age ON public.rooms USING btree (oldest_at);
CREATE INDEX rooms_by_removal ON public.rooms USING btree (removed_at) WHERE (removed_at IS NOT NULL);
CREATE INDEX rooms_left_by ON public.rooms USING btree (left_by) WHERE (left_by IS NOT NULL);
CREATE INDEX service_keys_by_expiry ON public.service_keys USING btree (expires_at) WHERE (expires_at IS NOT NULL);
CREATE INDEX service_keys_of_service ON public.service_keys USING btree (user_id);
CREATE INDEX users_by_disabling ON public.users USING btree (disabled_at) WHERE (disabled_at IS NOT NULL);
ALTER TABLE ONLY public.group_members
    ADD CONSTRAINT group_members_group_name_fkey FOREIGN KEY (group_name) REFERENCES public.groups(name);
ALTER TABLE ONLY public.group_members
    ADD CONSTRAINT group_members_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.invitations
    ADD CONSTRAINT invitations_inviter_id_fkey FOREIGN KEY (inviter_id) REFERENCES public.users(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.invitations
    ADD CONSTRAINT invitations_room_id_fkey FOREIGN KEY (room_id) REFERENCES public.rooms(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.invitations
    ADD CONSTRAINT invitations_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.login_sessions
    ADD CONSTRAINT login_sessions_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.memberships
    ADD CONSTRAINT memberships_room_id_fkey FOREIGN KEY (room_id) REFERENCES public.rooms(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.memberships
    ADD CONSTRAINT memberships_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.messages
    ADD CONSTRAINT messages_room_id_fkey FOREIGN KEY (room_id) REFERENCES public.rooms(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.messages
    ADD CONSTRAINT messages_sender_id_fkey FOREIGN KEY (sender_id) REFERENCES public.users(id);
ALTER TABLE ONLY public.rooms
    ADD CONSTRAINT rooms_left_by_fkey FOREIGN KEY (left_by) REFERENCES public.users(id);
ALTER TABLE ONLY public.service_keys
    ADD CONSTRAINT service_keys_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.services(user_id) ON DELETE CASCADE;
ALTER TABLE ONLY public.services
    ADD CONSTRAINT services_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;
ALTER TABLE ONLY public.tickets
    ADD CONSTRAINT tickets_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;
