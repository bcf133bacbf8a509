BEGIN TRANSACTION;
CREATE TABLE group_members (
	group_name TEXT NOT NULL, 
	user_id TEXT NOT NULL, 
	PRIMARY KEY (group_name, user_id), 
	FOREIGN KEY(group_name) REFERENCES groups (name), 
	FOREIGN KEY(user_id) REFERENCES users (id) ON DELETE CASCADE
);
INSERT INTO "group_members" VALUES('staff','37e5b9ca40b92c322ad9dac65c3cf136');
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
INSERT INTO "invitations" VALUES(2,'11119be4f4539de33231068d4ce4868a','f4fdf1ae4210ea569e14b1184ffd4da1',1796070838353);
INSERT INTO "invitations" VALUES(3,'11119be4f4539de33231068d4ce4868a','f4fdf1ae4210ea569e14b1184ffd4da1',1796070838371);
CREATE TABLE json_gateway_version (
	version_num VARCHAR(32) NOT NULL, 
	CONSTRAINT json_gateway_version_pkc PRIMARY KEY (version_num)
);
INSERT INTO "json_gateway_version" VALUES('gateway_0020');
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
INSERT INTO "login_sessions" VALUES('1b2c992cc6419b70','c32dbdacbd2cd4fed2937474af3f9206','api:publish api:rooms',NULL,NULL,NULL,NULL,1796070836866,1796070836866,9007199254740992,NULL,NULL,NULL);
INSERT INTO "login_sessions" VALUES('3f83cd02542c2771','0ec657ca2afcc823f42b93d3e4ddd86e','',NULL,NULL,NULL,NULL,1796070836875,1796070836875,9007199254740992,NULL,NULL,NULL);
INSERT INTO "login_sessions" VALUES('t1tcW8tCJNkNF-fF0btx1A','f4fdf1ae4210ea569e14b1184ffd4da1','chat:read chat:write rooms:manage','a9fbf53a4a0c5b7fe6cc0bf0d8ce96bc37472974c386a442f67672d83ec2238b','8a9ec644d0ddf71913a5a68b3af77a32ffbc28642f249f8a737da44ad11ccefb',NULL,NULL,1796070838062,1796070838062,1798662838062,NULL,'127.0.0.1','python-httpx2/2.16.2');
INSERT INTO "login_sessions" VALUES('FHB0rctKIbqdSfRluUbpLQ','f4fdf1ae4210ea569e14b1184ffd4da1','chat:read chat:write rooms:manage','c3e0251e06b94c9b94afafb6f3f700ca6a9b8742ed41f7aa36d0f40051e712b5','d960ca9e591997d45a0f899b5929f643f0846e4fb4bc6bbaf0b92ccb2f7667e9',NULL,NULL,1796070838125,1796070838125,1798662838125,NULL,'127.0.0.1','python-httpx2/2.16.2');
INSERT INTO "login_sessions" VALUES('dDRS5ZHaQ3CMVH-lyhX_4Q','11119be4f4539de33231068d4ce4868a','chat:read chat:write rooms:manage','77f08fc54cec9d7c9ad9fc7beb9210fa4eec4ee93d3178343a3d368c5a0e60b8','17cc03c263246e31a4a3b7f6f433acd38d93e28167e35be02b6cfb96b1c041ac',NULL,NULL,1796070838202,1796070838202,1798662838202,NULL,'127.0.0.1','python-httpx2/2.16.2');
INSERT INTO "login_sessions" VALUES('AI2i42UhN23BA5PPNeDf9g','f4fdf1ae4210ea569e14b1184ffd4da1','chat:read chat:write rooms:manage','ab4cd02b2aa8eaaf8c0fb0f925249a9439d788491c72ff7b3d6f6b3f50a1de4d','9ff24c624b39a2f2b073e38031086f3dbe59623b77548dcb953f11145a6f708b',NULL,NULL,1796070838527,1796070838527,1798662838527,NULL,'127.0.0.1','python-httpx2/2.16.2');
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
INSERT INTO "memberships" VALUES(1,'f4fdf1ae4210ea569e14b1184ffd4da1','owner',1796070838169,0,'alice','lobby');
INSERT INTO "memberships" VALUES(1,'11119be4f4539de33231068d4ce4868a','member',1796070838238,2,'bob','lobby');
INSERT INTO "memberships" VALUES(2,'f4fdf1ae4210ea569e14b1184ffd4da1','owner',1796070838313,0,'alice','garden');
INSERT INTO "memberships" VALUES(3,'f4fdf1ae4210ea569e14b1184ffd4da1','member',1796070838362,0,'alice','dm-b5b5c80c405ad3dc74e130f1c218f891');
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
INSERT INTO "messages" VALUES(1,1,1,'f4fdf1ae4210ea569e14b1184ffd4da1','hello',NULL,NULL,'c-0',1796070838249,NULL,NULL,NULL,0);
INSERT INTO "messages" VALUES(1,2,6,'f4fdf1ae4210ea569e14b1184ffd4da1','edited',NULL,NULL,'c-1',1796070838267,1796070838293,NULL,NULL,0);
INSERT INTO "messages" VALUES(1,3,7,'f4fdf1ae4210ea569e14b1184ffd4da1',NULL,NULL,NULL,'c-2',1796070838271,NULL,1796070838298,NULL,0);
INSERT INTO "messages" VALUES(1,4,4,'f4fdf1ae4210ea569e14b1184ffd4da1','\N 	 end',NULL,NULL,'c-3',1796070838274,NULL,NULL,NULL,0);
INSERT INTO "messages" VALUES(1,5,5,'11119be4f4539de33231068d4ce4868a',NULL,'{"big":12345678901234567890,"small":1.5e-9,"deep":[[[]],{"":null}]}',1,NULL,1796070838287,NULL,NULL,NULL,0);
INSERT INTO "messages" VALUES(1,8,9,'f4fdf1ae4210ea569e14b1184ffd4da1','it grows and grows',NULL,NULL,NULL,1796070838302,NULL,NULL,1796070838309,1);
INSERT INTO "messages" VALUES(2,1,1,'f4fdf1ae4210ea569e14b1184ffd4da1','nobody else is here',NULL,NULL,NULL,1796070838318,NULL,NULL,NULL,0);
INSERT INTO "messages" VALUES(3,1,1,'f4fdf1ae4210ea569e14b1184ffd4da1','between us',NULL,NULL,NULL,1796070838390,NULL,NULL,NULL,0);
INSERT INTO "messages" VALUES(4,1,1,'11119be4f4539de33231068d4ce4868a','left behind',NULL,NULL,NULL,1796070838399,NULL,NULL,NULL,0);
INSERT INTO "messages" VALUES(1,10,10,'c32dbdacbd2cd4fed2937474af3f9206',NULL,'{"big":12345678901234567890,"small":1.5e-9,"deep":[[[]],{"":null}]}',NULL,'o-1',1796070838501,NULL,NULL,NULL,0);
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
	PRIMARY KEY (id)
);
INSERT INTO "outgoing_events" VALUES(1,'archive','room:lobby','msg_1','message.stored','{"message":{"room":"lobby","sender":"alice","text":"hello"}}',NULL,NULL,9000000000000,0,NULL,1700000000000);
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
INSERT INTO "rooms" VALUES(1,'lobby',NULL,0,0,'xq1nKua4',10,0,1796070838169,0,1571,NULL,NULL,2,1796070838169,0,0,1);
INSERT INTO "rooms" VALUES(2,'garden','Garten ☃',1,0,'UxMQfchu',1,0,1796070838313,0,219,NULL,NULL,1,1796070838313,0,0,0);
INSERT INTO "rooms" VALUES(3,'dm-b5b5c80c405ad3dc74e130f1c218f891',NULL,1,1,'uvfNZlo2',1,0,1796070838362,0,210,NULL,NULL,1,0,0,0,1);
INSERT INTO "rooms" VALUES(4,'attic',NULL,0,0,'FLmdfEO0',1,0,1796070838394,1,211,'11119be4f4539de33231068d4ce4868a',NULL,1,1796070838394,0,0,1);
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
INSERT INTO "service_keys" VALUES('1b2c992cc6419b70','c32dbdacbd2cd4fed2937474af3f9206','bb626c17c7cfdd46b7cffee18f031aaaeb2be3726870d17b4c64c8f64e0fd99e',1796070836866,1796070838497,NULL,NULL);
INSERT INTO "service_keys" VALUES('3f83cd02542c2771','0ec657ca2afcc823f42b93d3e4ddd86e','2e838d761688bfb50e247da58921cd4f702ac9f636ecbfb88844d154b7bee4c4',1796070836875,NULL,NULL,NULL);
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
INSERT INTO "services" VALUES('c32dbdacbd2cd4fed2937474af3f9206','orders','service','api:publish api:rooms',NULL,NULL,1796070836866,NULL);
INSERT INTO "services" VALUES('0ec657ca2afcc823f42b93d3e4ddd86e','alarms','hook','',NULL,'lobby',1796070836875,NULL);
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
	PRIMARY KEY (id), 
	UNIQUE (name)
);
INSERT INTO "users" VALUES('c32dbdacbd2cd4fed2937474af3f9206','service:orders','',NULL,NULL,'api:publish api:rooms',0,1796070836866,NULL,NULL,267,NULL);
INSERT INTO "users" VALUES('0ec657ca2afcc823f42b93d3e4ddd86e','service:alarms','',NULL,NULL,'',0,1796070836875,NULL,NULL,0,NULL);
INSERT INTO "users" VALUES('f4fdf1ae4210ea569e14b1184ffd4da1','alice','$bcrypt-sha256$v=2,t=2b,r=4$Mj/wsbseCpCNipEdOmPXVe$yBor7YkUMqfTpatHMW0OrYiR..sTzya',NULL,NULL,'chat:read chat:write rooms:manage',0,1796070837763,1796070838604,NULL,1466,NULL);
INSERT INTO "users" VALUES('11119be4f4539de33231068d4ce4868a','bob','$bcrypt-sha256$v=2,t=2b,r=4$pWDxXOwaK9Actb1o4hUcne$6HwYaWmJeDke3raO0zUQOjYLHfg9ItC',NULL,NULL,'chat:read chat:write rooms:manage',0,1796070838197,1796070838408,NULL,478,NULL);
INSERT INTO "users" VALUES('37e5b9ca40b92c322ad9dac65c3cf136','carol','$bcrypt-sha256$v=2,t=2b,r=4$LosIK0Z96XSwSwJYpkpFQu$XItkJSK..mRDfKIBn4ADwhWI.FUIJ1e',NULL,NULL,'chat:read chat:write rooms:manage',1,1796070838427,NULL,1700000000000,0,'[{"lobby":["join","send"]}]');
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
CREATE INDEX outgoing_events_by_due ON outgoing_events (webhook, due_at, id) WHERE parked_at IS NULL;
CREATE INDEX outgoing_events_of_stream ON outgoing_events (webhook, stream, id) WHERE parked_at IS NULL;
CREATE INDEX outgoing_events_parked ON outgoing_events (webhook) WHERE parked_at IS NOT NULL;
CREATE INDEX login_sessions_of_user ON login_sessions (user_id);
CREATE INDEX login_sessions_by_end ON login_sessions (ended_at) WHERE ended_at IS NOT NULL;
CREATE INDEX login_sessions_by_expiry ON login_sessions (expires_at);
CREATE INDEX public_rooms ON rooms (name) WHERE NOT private;
CREATE INDEX rooms_by_removal ON rooms (removed_at) WHERE removed_at IS NOT NULL;
CREATE INDEX rooms_left_by ON rooms (left_by) WHERE left_by IS NOT NULL;
CREATE INDEX rooms_by_age ON rooms (oldest_at);
CREATE INDEX ix_tickets_expires_at ON tickets (expires_at);
CREATE INDEX ix_tickets_user_id ON tickets (user_id);
CREATE INDEX groups_of_user ON group_members (user_id);
CREATE INDEX memberships_by_user_name ON memberships (room_id, user_name) WHERE joined_at >= 0;
CREATE INDEX memberships_by_room_name ON memberships (user_id, room_name);
CREATE INDEX memberships_of_user ON memberships (user_id, role);
CREATE INDEX memberships_by_role ON memberships (room_id, role, joined_at) WHERE joined_at >= 0;
CREATE INDEX invitations_of_user ON invitations (user_id);
CREATE INDEX invitations_by_inviter ON invitations (inviter_id);
CREATE INDEX messages_by_client_id ON messages (room_id, sender_id, client_id) WHERE client_id IS NOT NULL;
CREATE INDEX service_keys_by_expiry ON service_keys (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX service_keys_of_service ON service_keys (user_id);
COMMIT;
