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
    version_num character varying(32) NOT NULL,
    readable_from character varying(32)
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
    created_at bigint NOT NULL,
    trace text
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
    room_rights text,
    deleted_at bigint,
    successor_id text
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
INSERT INTO public.group_members VALUES ('staff', 'd53d701e51f975f6f7f3be039eee511e');
INSERT INTO public.groups VALUES ('staff', '[{"lobby":["join","send"]}]', 2);
INSERT INTO public.invitations VALUES (2, '5c83db977dcfd9f8437392f682af1f64', '6dacc4cda0535baedd2605cf1799d096', 1796074516712);
INSERT INTO public.invitations VALUES (3, '5c83db977dcfd9f8437392f682af1f64', '6dacc4cda0535baedd2605cf1799d096', 1796074516802);
INSERT INTO public.json_gateway_version VALUES ('gateway_0022', 'gateway_0021');
INSERT INTO public.login_sessions VALUES ('ff7b7d2b2bdbe0bf', '1a29e3a475480bb01d68264609d12590', 'api:publish api:rooms', NULL, NULL, NULL, NULL, 1796074515939, 1796074515939, 9007199254740992, NULL, NULL, NULL);
INSERT INTO public.login_sessions VALUES ('8da13273727362e5', 'd6182ec4b1988217a3fe7e97cad51198', '', NULL, NULL, NULL, NULL, 1796074516028, 1796074516028, 9007199254740992, NULL, NULL, NULL);
INSERT INTO public.login_sessions VALUES ('9Osz6OSk8H3OW97r2rGSpg', '6dacc4cda0535baedd2605cf1799d096', 'chat:read chat:write rooms:manage', '8ca3ad625ce7d1da8ccd5be8d9ff920461d2e55fa097b24753c356d695efa19e', '49f305d0a458bbd8ec8f454720d99182dce264bba0abbb44ef29e6ceeea996ad', NULL, NULL, 1796074516144, 1796074516144, 1798666516144, NULL, '127.0.0.1', 'python-httpx2/2.16.2');
INSERT INTO public.login_sessions VALUES ('uifdWRcTuRk6RP7HMaR_8w', '6dacc4cda0535baedd2605cf1799d096', 'chat:read chat:write rooms:manage', '1e34781d61f0057677880235937797264a2594490b32a88d5833803f869cb25d', 'cbcf0747786627812b29c0b7dcd04dba76239951c5f53ecf010fbf23b337ef1d', NULL, NULL, 1796074516210, 1796074516210, 1798666516210, NULL, '127.0.0.1', 'python-httpx2/2.16.2');
INSERT INTO public.login_sessions VALUES ('Z1GfFUkdP2kypuMJ2PRtug', '5c83db977dcfd9f8437392f682af1f64', 'chat:read chat:write rooms:manage', '9c023c7d1277442902ad7507ca169f077a37ace961a84d0062d3d2deb42337fc', '68f4d139810b939681b4c0bbe763ef552c9dc0919bb2b7b25bae5a4a95af528e', NULL, NULL, 1796074516359, 1796074516359, 1798666516359, NULL, '127.0.0.1', 'python-httpx2/2.16.2');
INSERT INTO public.login_sessions VALUES ('qDF1lhXPAJxfznawmjeu-g', '6dacc4cda0535baedd2605cf1799d096', 'chat:read chat:write rooms:manage', '4d8e675d57bbf328fc2780ae1ab9d4987a06148c04f44b95d21f4adacb99a6f0', 'a1cc0bd73c3976ad841db2394153e3cc39d30dffb9aeb8dd8c6d63197fe34b45', NULL, NULL, 1796074517121, 1796074517121, 1798666517121, NULL, '127.0.0.1', 'python-httpx2/2.16.2');
INSERT INTO public.memberships VALUES (1, '6dacc4cda0535baedd2605cf1799d096', 'owner', 1796074516283, 0, 'alice', 'lobby');
INSERT INTO public.memberships VALUES (1, '5c83db977dcfd9f8437392f682af1f64', 'member', 1796074516392, 2, 'bob', 'lobby');
INSERT INTO public.memberships VALUES (2, '6dacc4cda0535baedd2605cf1799d096', 'owner', 1796074516612, 0, 'alice', 'garden');
INSERT INTO public.memberships VALUES (3, '6dacc4cda0535baedd2605cf1799d096', 'member', 1796074516738, 0, 'alice', 'dm-8e7ff76685a2811465180a0be698e692');
INSERT INTO public.messages VALUES (1, 1, 1, '6dacc4cda0535baedd2605cf1799d096', 'hello', NULL, NULL, 'c-0', 1796074516417, NULL, NULL, NULL, false);
INSERT INTO public.messages VALUES (1, 4, 4, '6dacc4cda0535baedd2605cf1799d096', '\N 	 end', NULL, NULL, 'c-3', 1796074516511, NULL, NULL, NULL, false);
INSERT INTO public.messages VALUES (1, 5, 5, '5c83db977dcfd9f8437392f682af1f64', NULL, '{"big":12345678901234567890,"small":1.5e-9,"deep":[[[]],{"":null}]}', 1, NULL, 1796074516543, NULL, NULL, NULL, false);
INSERT INTO public.messages VALUES (1, 2, 6, '6dacc4cda0535baedd2605cf1799d096', 'edited', NULL, NULL, 'c-1', 1796074516463, 1796074516565, NULL, NULL, false);
INSERT INTO public.messages VALUES (1, 3, 7, '6dacc4cda0535baedd2605cf1799d096', NULL, NULL, NULL, 'c-2', 1796074516486, NULL, 1796074516578, NULL, false);
INSERT INTO public.messages VALUES (1, 8, 9, '6dacc4cda0535baedd2605cf1799d096', 'it grows and grows', NULL, NULL, NULL, 1796074516588, NULL, NULL, 1796074516594, true);
INSERT INTO public.messages VALUES (2, 1, 1, '6dacc4cda0535baedd2605cf1799d096', 'nobody else is here', NULL, NULL, NULL, 1796074516631, NULL, NULL, NULL, false);
INSERT INTO public.messages VALUES (3, 1, 1, '6dacc4cda0535baedd2605cf1799d096', 'between us', NULL, NULL, NULL, 1796074516818, NULL, NULL, NULL, false);
INSERT INTO public.messages VALUES (4, 1, 1, '5c83db977dcfd9f8437392f682af1f64', 'left behind', NULL, NULL, NULL, 1796074516849, NULL, NULL, NULL, false);
INSERT INTO public.messages VALUES (1, 10, 10, '1a29e3a475480bb01d68264609d12590', NULL, '{"big":12345678901234567890,"small":1.5e-9,"deep":[[[]],{"":null}]}', NULL, 'o-1', 1796074517067, NULL, NULL, NULL, false);
INSERT INTO public.outgoing_events VALUES (1, 'archive', 'room:lobby', 'msg_1', 'message.stored', '{"message":{"room":"lobby","sender":"alice","text":"hello"}}', NULL, NULL, 9000000000000, 0, NULL, 1700000000000, NULL);
INSERT INTO public.rooms VALUES (2, 'garden', 'Garten ☃', true, false, 'PbAQQ_TD', 1, 0, 1796074516612, 0, 219, NULL, NULL, 1, 1796074516612, 0, false, false);
INSERT INTO public.rooms VALUES (3, 'dm-8e7ff76685a2811465180a0be698e692', NULL, true, true, 'dDV0-CkQ', 1, 0, 1796074516738, 0, 210, NULL, NULL, 1, 0, 0, false, true);
INSERT INTO public.rooms VALUES (4, 'attic', NULL, false, false, 'en4A-o6j', 1, 0, 1796074516833, 1, 211, '5c83db977dcfd9f8437392f682af1f64', NULL, 1, 1796074516833, 0, false, true);
INSERT INTO public.rooms VALUES (1, 'lobby', NULL, false, false, 'XO86cg_P', 10, 0, 1796074516283, 0, 1571, NULL, NULL, 2, 1796074516283, 0, false, true);
INSERT INTO public.service_keys VALUES ('8da13273727362e5', 'd6182ec4b1988217a3fe7e97cad51198', 'bcf2bb4967532d33244eccffde17af9769e47aad6af1554d219e2451ddae6074', 1796074516028, NULL, NULL, NULL);
INSERT INTO public.service_keys VALUES ('ff7b7d2b2bdbe0bf', '1a29e3a475480bb01d68264609d12590', '709f149d64148835dd4ddb649dbda708add04a27ad50050eb47c6d7f526af02b', 1796074515939, 1796074517065, NULL, NULL);
INSERT INTO public.services VALUES ('1a29e3a475480bb01d68264609d12590', 'orders', 'service', 'api:publish api:rooms', NULL, NULL, 1796074515939, NULL);
INSERT INTO public.services VALUES ('d6182ec4b1988217a3fe7e97cad51198', 'alarms', 'hook', '', NULL, 'lobby', 1796074516028, NULL);
INSERT INTO public.users VALUES ('d6182ec4b1988217a3fe7e97cad51198', 'service:alarms', '', NULL, NULL, '', false, 1796074516028, NULL, NULL, 0, NULL, NULL, NULL);
INSERT INTO public.users VALUES ('5c83db977dcfd9f8437392f682af1f64', 'bob', '$bcrypt-sha256$v=2,t=2b,r=4$F8rTGM/t3dpYEAgbyyroIO$zU0WAsnQGE5AtOm2RNwm9NnM/CL0eZO', NULL, NULL, 'chat:read chat:write rooms:manage', false, 1796074516346, 1796074516871, NULL, 478, NULL, NULL, NULL);
INSERT INTO public.users VALUES ('d53d701e51f975f6f7f3be039eee511e', 'carol', '$bcrypt-sha256$v=2,t=2b,r=4$vi5UsL/YpSbpeG4f66r5u.$E0Oby6QOL0.OmXIP8iEpgeqa1USsq/S', NULL, NULL, 'chat:read chat:write rooms:manage', true, 1796074516892, NULL, 1700000000000, 0, '[{"lobby":["join","send"]}]', NULL, NULL);
INSERT INTO public.users VALUES ('1a29e3a475480bb01d68264609d12590', 'service:orders', '', NULL, NULL, 'api:publish api:rooms', false, 1796074515939, NULL, NULL, 267, NULL, NULL, NULL);
INSERT INTO public.users VALUES ('6dacc4cda0535baedd2605cf1799d096', 'alice', '$bcrypt-sha256$v=2,t=2b,r=4$d7jShLNcprgFfbQcs5uTou$mZUdRY3ZWoZnSFJiHaGV4d.x6DjMIp6', NULL, NULL, 'chat:read chat:write rooms:manage', false, 1796074516091, 1796074517325, NULL, 1466, NULL, NULL, NULL);
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
