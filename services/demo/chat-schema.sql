-- The chat database of the demonstration and of the benchmarks' little sister.
CREATE TYPE member_role AS ENUM ('member', 'moderator', 'owner');
CREATE TABLE users (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, handle text NOT NULL UNIQUE, display_name text NOT NULL, created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE conversations (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, kind smallint NOT NULL, title text, created_at timestamptz NOT NULL DEFAULT now());
CREATE TABLE members (conversation_id bigint REFERENCES conversations, user_id bigint REFERENCES users, role member_role NOT NULL DEFAULT 'member', joined_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (conversation_id, user_id));
CREATE TABLE messages (
  id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, conversation_id bigint NOT NULL REFERENCES conversations, sender_id bigint NOT NULL REFERENCES users,
  reply_to bigint REFERENCES messages ON DELETE SET NULL, sent_at timestamptz NOT NULL DEFAULT now(), edited_at timestamptz, deleted boolean NOT NULL DEFAULT false,
  body text NOT NULL, attributes jsonb, length int GENERATED ALWAYS AS (length(body)) STORED);
CREATE INDEX messages_by_conversation ON messages (conversation_id, id);
CREATE INDEX messages_reply_to ON messages (reply_to) WHERE reply_to IS NOT NULL;
CREATE TABLE attachments (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), message_id bigint NOT NULL REFERENCES messages ON DELETE CASCADE, name text NOT NULL, size bigint NOT NULL, digest bytea NOT NULL);
CREATE INDEX attachments_by_message ON attachments (message_id);
CREATE TABLE reactions (message_id bigint REFERENCES messages ON DELETE CASCADE, user_id bigint REFERENCES users, emoji text, PRIMARY KEY (message_id, user_id, emoji));
CREATE TABLE receipts (message_id bigint REFERENCES messages ON DELETE CASCADE, user_id bigint REFERENCES users, read_at timestamptz NOT NULL DEFAULT now(), PRIMARY KEY (message_id, user_id));
-- An application's log without any key: the normal case in real chat servers.
CREATE TABLE audit_events (at timestamptz NOT NULL DEFAULT now(), what text NOT NULL, who bigint);
