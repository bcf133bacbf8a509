BEGIN TRANSACTION;
CREATE TABLE group_members (
	group_name TEXT NOT NULL, 
	user_id TEXT NOT NULL, 
	PRIMARY KEY (group_name, user_id), 
	FOREIGN KEY(group_name) REFERENCES groups (name), 
	FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);
INSERT INTO "group_members" VALUES('staff','14a99980469843fb38b1133bcb284db6');
CREATE TABLE groups (
	name TEXT NOT NULL, 
	room_rights TEXT NOT NULL, 
	version BIGINT DEFAULT '0' NOT NULL, 
	PRIMARY KEY (name)
);
INSERT INTO "groups" VALUES('staff','[{"lobby":["join","send"]}]',2);
CREATE TABLE invitations (
	room_id INTEGER NOT NULL, 
	user_id TEXT NOT NULL, 
	inviter_id TEXT NOT NULL, 
	invited_at BIGINT NOT NULL, 
	PRIMARY KEY (room_id, user_id), 
	FOREIGN KEY(room_id) REFERENCES rooms (id) ON DELETE CASCADE, 
	FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE, 
	FOREIGN KEY(inviter_id) REFERENCES users (id) ON DELETE CASCADE
);
INSERT INTO "invitations" VALUES(2,'ea9c207f383e03d0736f35d4b08f5796','f206cdd428a07f209a2db370731b4c96',1796074512521);
INSERT INTO "invitations" VALUES(3,'ea9c207f383e03d0736f35d4b08f5796','f206cdd428a07f209a2db370731b4c96',1796074512525);
CREATE TABLE json_gateway_version (
	version_num VARCHAR(32) NOT NULL, 
	readable_from VARCHAR(32), 
	CONSTRAINT json_gateway_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "json_gateway_version" VALUES('gateway_0022','gateway_0021');
CREATE TABLE login_sessions (
	id TEXT NOT NULL, 
	user_id TEXT NOT NULL, 
	scopes TEXT NOT NULL, 
	family_hash TEXT, 
	refresh_hash TEXT, 
	previous_hash TEXT, 
	nonce TEXT, 
	created_at BIGINT NOT NULL, 
	last_used_at BIGINT NOT NULL, 
	expires_at BIGINT NOT NULL, 
	ended_at BIGINT, 
	address TEXT, 
	user_agent TEXT, 
	PRIMARY KEY (id), 
	FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE, 
	UNIQUE (family_hash)
);
INSERT INTO "login_sessions" VALUES('e3aad8f6d72e9ee5','0fc5dddda72f0b1d3b40e9df19335c3a','api:publish api:rooms',NULL,NULL,NULL,NULL,1796074511405,1796074511405,9007199254740992,NULL,NULL,NULL);
INSERT INTO "login_sessions" VALUES('182180eff632c9a7','f3ca22533dbade18fbe5b44c52a0da52','',NULL,NULL,NULL,NULL,1796074511410,1796074511410,9007199254740992,NULL,NULL,NULL);
INSERT INTO "login_sessions" VALUES('16EJOXWFceSlG-ZTjhFiRA','f206cdd428a07f209a2db370731b4c96','chat:read chat:write rooms:manage','3906d6b147a9a00d7fc10650538caf74b330024fe892ec001fc80b1acdb89d44','65f44c8876d37b04d604bfdd4449ec33782e67798baced3c7657f66642db78c2',NULL,NULL,1796074512304,1796074512304,1798666512304,NULL,'127.0.0.1','python-httpx2/2.16.2');
INSERT INTO "login_sessions" VALUES('CZ2hxjMp5Ed-CTleFv4qwQ','f206cdd428a07f209a2db370731b4c96','chat:read chat:write rooms:manage','096e7267dec676d74101c09d4e4f6f277b9a5882df4e6b6e5f9f01b72e4c1ed5','9bb6ce9124c0fd520bd91d0e880e444ac05ff8bd5df5647825f8428f4742a78c',NULL,NULL,1796074512358,1796074512358,1798666512358,NULL,'127.0.0.1','python-httpx2/2.16.2');
INSERT INTO "login_sessions" VALUES('vmlmIICVkx6kAbx7_iiCzA','ea9c207f383e03d0736f35d4b08f5796','chat:read chat:write rooms:manage','ef976e29308cfb6419bc29c914bbdabd2866cf83ed68a66143719912a00b8e8f','dd68e6d4c2c4ce5ac7f1d1135e0cd9d6615d65bb9d264e1bc0a2aa154d9ae24e',NULL,NULL,1796074512445,1796074512445,1798666512445,NULL,'127.0.0.1','python-httpx2/2.16.2');
INSERT INTO "login_sessions" VALUES('4jDy4TCXb38GIyivs0O8Cw','f206cdd428a07f209a2db370731b4c96','chat:read chat:write rooms:manage','241b4a1fc6c4977d2e54d19e196968ec15c394348fb26ca6106c6a4ce099109e','bf07a87b28fde0a8bd5b7bea3718dea09b03d6d0980d0ab12be3a698b7288e43',NULL,NULL,1796074512599,1796074512599,1798666512599,NULL,'127.0.0.1','python-httpx2/2.16.2');
CREATE TABLE memberships (
	room_id INTEGER NOT NULL, 
	user_id TEXT NOT NULL, 
	role TEXT NOT NULL, 
	joined_at BIGINT NOT NULL, 
	read BIGINT DEFAULT '0' NOT NULL, 
	user_name TEXT DEFAULT '' NOT NULL, 
	room_name TEXT DEFAULT '' NOT NULL, 
	PRIMARY KEY (room_id, user_id), 
	FOREIGN KEY(room_id) REFERENCES rooms (id) ON DELETE CASCADE, 
	FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);
INSERT INTO "memberships" VALUES(1,'f206cdd428a07f209a2db370731b4c96','owner',1796074512378,0,'alice','lobby');
INSERT INTO "memberships" VALUES(1,'ea9c207f383e03d0736f35d4b08f5796','member',1796074512477,2,'bob','lobby');
INSERT INTO "memberships" VALUES(2,'f206cdd428a07f209a2db370731b4c96','owner',1796074512513,0,'alice','garden');
INSERT INTO "memberships" VALUES(3,'f206cdd428a07f209a2db370731b4c96','member',1796074512523,0,'alice','dm-e9bc74549d5b7896b23377598c7d78da');
CREATE TABLE messages (
	room_id INTEGER NOT NULL, 
	"offset" BIGINT NOT NULL, 
	changed BIGINT NOT NULL, 
	sender_id TEXT NOT NULL, 
	text TEXT, 
	body TEXT, 
	reply_to BIGINT, 
	client_id TEXT, 
	sent_at BIGINT NOT NULL, 
	edited_at BIGINT, 
	deleted_at BIGINT, 
	grown_at BIGINT, 
	done BOOLEAN DEFAULT 0 NOT NULL, 
	PRIMARY KEY (room_id, "offset"), 
	UNIQUE (room_id, changed), 
	FOREIGN KEY(room_id) REFERENCES rooms (id) ON DELETE CASCADE, 
	FOREIGN KEY(sender_id) REFERENCES users (id)
);
INSERT INTO "messages" VALUES(1,1,1,'f206cdd428a07f209a2db370731b4c96','hello',NULL,NULL,'c-0',1796074512493,NULL,NULL,NULL,0);
INSERT INTO "messages" VALUES(1,2,6,'f206cdd428a07f209a2db370731b4c96','edited',NULL,NULL,'c-1',1796074512502,1796074512508,NULL,NULL,0);
INSERT INTO "messages" VALUES(1,3,7,'f206cdd428a07f209a2db370731b4c96',NULL,NULL,NULL,'c-2',1796074512503,NULL,1796074512510,NULL,0);
INSERT INTO "messages" VALUES(1,4,4,'f206cdd428a07f209a2db370731b4c96','\N 	 end',NULL,NULL,'c-3',1796074512504,NULL,NULL,NULL,0);
INSERT INTO "messages" VALUES(1,5,5,'ea9c207f383e03d0736f35d4b08f5796',NULL,'{"big":12345678901234567890,"small":1.5e-9,"deep":[[[]],{"":null}]}',1,NULL,1796074512507,NULL,NULL,NULL,0);
INSERT INTO "messages" VALUES(1,8,9,'f206cdd428a07f209a2db370731b4c96','it grows and grows',NULL,NULL,NULL,1796074512510,NULL,NULL,1796074512511,1);
INSERT INTO "messages" VALUES(2,1,1,'f206cdd428a07f209a2db370731b4c96','nobody else is here',NULL,NULL,NULL,1796074512514,NULL,NULL,NULL,0);
INSERT INTO "messages" VALUES(3,1,1,'f206cdd428a07f209a2db370731b4c96','between us',NULL,NULL,NULL,1796074512528,NULL,NULL,NULL,0);
INSERT INTO "messages" VALUES(4,1,1,'ea9c207f383e03d0736f35d4b08f5796','left behind',NULL,NULL,NULL,1796074512530,NULL,NULL,NULL,0);
INSERT INTO "messages" VALUES(1,10,10,'0fc5dddda72f0b1d3b40e9df19335c3a',NULL,'{"big":12345678901234567890,"small":1.5e-9,"deep":[[[]],{"":null}]}',NULL,'o-1',1796074512593,NULL,NULL,NULL,0);
CREATE TABLE outgoing_events (
	id INTEGER NOT NULL, 
	webhook TEXT NOT NULL, 
	stream TEXT NOT NULL, 
	event_id TEXT NOT NULL, 
	type TEXT NOT NULL, 
	data TEXT NOT NULL, 
	room_id INTEGER, 
	"offset" BIGINT, 
	due_at BIGINT DEFAULT '0' NOT NULL, 
	attempts INTEGER DEFAULT '0' NOT NULL, 
	parked_at BIGINT, 
	created_at BIGINT NOT NULL, 
	trace TEXT, 
	PRIMARY KEY (id)
);
INSERT INTO "outgoing_events" VALUES(1,'archive','room:lobby','msg_1','message.stored','{"message":{"room":"lobby","sender":"alice","text":"hello"}}',NULL,NULL,9000000000000,0,NULL,1700000000000,NULL);
CREATE TABLE rooms (
	id INTEGER NOT NULL, 
	name TEXT NOT NULL, 
	title TEXT, 
	private BOOLEAN NOT NULL, 
	direct BOOLEAN DEFAULT 0 NOT NULL, 
	epoch TEXT NOT NULL, 
	"offset" BIGINT NOT NULL, 
	pruned BIGINT DEFAULT '0' NOT NULL, 
	created_at BIGINT NOT NULL, 
	departures BIGINT DEFAULT '0' NOT NULL, 
	stored_bytes BIGINT DEFAULT '0' NOT NULL, 
	left_by TEXT, 
	removed_at BIGINT, 
	arrivals BIGINT DEFAULT '0' NOT NULL, 
	oldest_at BIGINT DEFAULT '0' NOT NULL, 
	vacant BIGINT DEFAULT '0' NOT NULL, 
	kept BOOLEAN DEFAULT 0 NOT NULL, 
	signals BOOLEAN DEFAULT 1 NOT NULL, 
	PRIMARY KEY (id), 
	UNIQUE (name), 
	FOREIGN KEY(left_by) REFERENCES users (id)
);
INSERT INTO "rooms" VALUES(1,'lobby',NULL,0,0,'KhHGVR4K',10,0,1796074512378,0,1571,NULL,NULL,2,1796074512378,0,0,1);
INSERT INTO "rooms" VALUES(2,'garden','Garten ☃',1,0,'zx2A960I',1,0,1796074512513,0,219,NULL,NULL,1,1796074512513,0,0,0);
INSERT INTO "rooms" VALUES(3,'dm-e9bc74549d5b7896b23377598c7d78da',NULL,1,1,'TNKSrCNk',1,0,1796074512523,0,210,NULL,NULL,1,0,0,0,1);
INSERT INTO "rooms" VALUES(4,'attic',NULL,0,0,'V_VGx2zf',1,0,1796074512529,1,211,'ea9c207f383e03d0736f35d4b08f5796',NULL,1,1796074512529,0,0,1);
CREATE TABLE service_keys (
	id TEXT NOT NULL, 
	user_id TEXT NOT NULL, 
	hash TEXT NOT NULL, 
	created_at BIGINT NOT NULL, 
	last_used_at BIGINT, 
	expires_at BIGINT, 
	revoked_at BIGINT, 
	PRIMARY KEY (id), 
	FOREIGN KEY(user_id) REFERENCES services (user_id) ON DELETE CASCADE
);
INSERT INTO "service_keys" VALUES('e3aad8f6d72e9ee5','0fc5dddda72f0b1d3b40e9df19335c3a','4d70c5caeed6e7e87d1fef0f2e70a86232ed1d5f7f6666b17ee9b008e7c11261',1796074511405,1796074512586,NULL,NULL);
INSERT INTO "service_keys" VALUES('182180eff632c9a7','f3ca22533dbade18fbe5b44c52a0da52','cb19431e9dd13682bad6be589180e3790bc536414d57b302b1c3b3bdfef52e17',1796074511410,NULL,NULL,NULL);
CREATE TABLE services (
	user_id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	scopes TEXT NOT NULL, 
	rooms TEXT, 
	room TEXT, 
	created_at BIGINT NOT NULL, 
	deleted_at BIGINT, 
	PRIMARY KEY (user_id), 
	FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE, 
	UNIQUE (name)
);
INSERT INTO "services" VALUES('0fc5dddda72f0b1d3b40e9df19335c3a','orders','service','api:publish api:rooms',NULL,NULL,1796074511405,NULL);
INSERT INTO "services" VALUES('f3ca22533dbade18fbe5b44c52a0da52','alarms','hook','',NULL,'lobby',1796074511410,NULL);
CREATE TABLE tickets (
	hash TEXT NOT NULL, 
	user_id TEXT NOT NULL, 
	service TEXT NOT NULL, 
	sid TEXT, 
	scopes TEXT NOT NULL, 
	token_expires_at BIGINT NOT NULL, 
	expires_at BIGINT NOT NULL, 
	room_rights TEXT, 
	claims TEXT, 
	PRIMARY KEY (hash), 
	FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);
CREATE TABLE users (
	id TEXT NOT NULL, 
	name TEXT NOT NULL, 
	password_hash TEXT NOT NULL, 
	full_name TEXT, 
	email TEXT, 
	scopes TEXT NOT NULL, 
	disabled BOOLEAN NOT NULL, 
	created_at BIGINT NOT NULL, 
	last_seen_at BIGINT, 
	disabled_at BIGINT, 
	stored_bytes BIGINT DEFAULT '0' NOT NULL, 
	room_rights TEXT, 
	deleted_at BIGINT, 
	successor_id TEXT, 
	PRIMARY KEY (id), 
	UNIQUE (name)
);
INSERT INTO "users" VALUES('0fc5dddda72f0b1d3b40e9df19335c3a','service:orders','',NULL,NULL,'api:publish api:rooms',0,1796074511405,NULL,NULL,267,NULL,NULL,NULL);
INSERT INTO "users" VALUES('f3ca22533dbade18fbe5b44c52a0da52','service:alarms','',NULL,NULL,'',0,1796074511410,NULL,NULL,0,NULL,NULL,NULL);
INSERT INTO "users" VALUES('f206cdd428a07f209a2db370731b4c96','alice','$bcrypt-sha256$v=2,t=2b,r=4$7oKsS5Va4p.7vCGNTWX.hu$JvfTrx1OZbH4l6a/7cQQVTvkzW7a1KK',NULL,NULL,'chat:read chat:write rooms:manage',0,1796074512270,1796074512617,NULL,1466,NULL,NULL,NULL);
INSERT INTO "users" VALUES('ea9c207f383e03d0736f35d4b08f5796','bob','$bcrypt-sha256$v=2,t=2b,r=4$fE91W4Nyt2Bjb3GWXnpnZe$.j1LDVc12AGLryW/u9b01J3AFnV7GOG',NULL,NULL,'chat:read chat:write rooms:manage',0,1796074512439,1796074512532,NULL,478,NULL,NULL,NULL);
INSERT INTO "users" VALUES('14a99980469843fb38b1133bcb284db6','carol','$bcrypt-sha256$v=2,t=2b,r=4$oCGbPFnCIs3pEMejSRJv2u$LXnJN0tofxg6ubVmhwoDKippstUcAiC',NULL,NULL,'chat:read chat:write rooms:manage',1,1796074512549,NULL,1700000000000,0,'[{"lobby":["join","send"]}]',NULL,NULL);
CREATE TABLE webhook_presence (
	webhook TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	name TEXT NOT NULL, 
	PRIMARY KEY (webhook, kind, name)
);
CREATE TABLE webhooks (
	name TEXT NOT NULL, 
	owner TEXT DEFAULT '' NOT NULL, 
	beat BIGINT DEFAULT '0' NOT NULL, 
	disabled_at BIGINT, 
	failed_at BIGINT, 
	last_error TEXT, 
	PRIMARY KEY (name)
);
CREATE INDEX users_by_disabling ON users (disabled_at) WHERE disabled_at IS NOT NULL;
CREATE INDEX groups_by_version ON groups (version);
CREATE INDEX outgoing_events_parked ON outgoing_events (webhook) WHERE parked_at IS NOT NULL;
CREATE INDEX outgoing_events_of_stream ON outgoing_events (webhook, stream, id) WHERE parked_at IS NULL;
CREATE INDEX outgoing_events_by_due ON outgoing_events (webhook, due_at, id) WHERE parked_at IS NULL;
CREATE INDEX login_sessions_by_end ON login_sessions (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX login_sessions_of_user ON login_sessions (user_id);
CREATE INDEX login_sessions_by_expiry ON login_sessions (expires_at);
CREATE INDEX rooms_left_by ON rooms (left_by) WHERE left_by IS NOT NULL;
CREATE INDEX public_rooms ON rooms (name) WHERE NOT private;
CREATE INDEX rooms_by_age ON rooms (oldest_at);
CREATE INDEX rooms_by_removal ON rooms (removed_at) WHERE removed_at IS NOT NULL;
CREATE INDEX ix_tickets_user_id ON tickets (user_id);
CREATE INDEX ix_tickets_expires_at ON tickets (expires_at);
CREATE INDEX groups_of_user ON group_members (user_id);
CREATE INDEX memberships_by_room_name ON memberships (user_id, room_name);
CREATE INDEX memberships_of_user ON memberships (user_id, role);
CREATE INDEX memberships_by_user_name ON memberships (room_id, user_name) WHERE joined_at >= 0;
CREATE INDEX memberships_by_role ON memberships (room_id, role, joined_at) WHERE joined_at >= 0;
CREATE INDEX invitations_by_inviter ON invitations (inviter_id);
CREATE INDEX invitations_of_user ON invitations (user_id);
CREATE INDEX messages_by_client_id ON messages (room_id, sender_id, client_id) WHERE client_id IS NOT NULL;
CREATE INDEX service_keys_of_service ON service_keys (user_id);
CREATE INDEX service_keys_by_expiry ON service_keys (expires_at) WHERE expires_at IS NOT NULL;
COMMIT;
