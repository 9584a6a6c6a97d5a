-- Tables. What is replicated to all members (node, slot_made, table_setting) is
-- marked so; the rest is of this node alone. Nobody but the owner reads them:
-- people read the views.

-- This database as a member of its group; at most one row.
CREATE TABLE local_node (
	only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
	group_id uuid NOT NULL,
	group_name text NOT NULL,
	node_id integer NOT NULL,
	node_name text NOT NULL,
	dsn text NOT NULL,
	state text NOT NULL,
	source_id integer,
	source_dsn text,
	copy_schema boolean NOT NULL DEFAULT true,
	copy_data boolean NOT NULL DEFAULT true,
	add_frontier text,
	schema_copied boolean NOT NULL DEFAULT false,
	since timestamptz NOT NULL DEFAULT clock_timestamp(), -- local rows from before have the oldest version
	progress text,
	last_error text,
	last_error_at timestamptz,
	failures integer NOT NULL DEFAULT 0 -- of the join worker in a row
);

-- The members, also former ones: a number is never used again. Replicated.
CREATE TABLE node (
	node_id integer PRIMARY KEY CHECK (node_id > 0),
	node_name text NOT NULL,
	dsn text NOT NULL,
	state text NOT NULL CHECK (state IN ('joining', 'ready', 'removed')),
	add_frontier text,
	source integer,
	added_at timestamptz NOT NULL DEFAULT now()
);

-- "The provider has made the slot that feeds the subscriber": whoever applied this row
-- has all of the provider's transactions before that slot. Replicated.
CREATE TABLE slot_made (
	provider integer NOT NULL,
	subscriber integer NOT NULL,
	slot_lsn pg_lsn NOT NULL,
	PRIMARY KEY (provider, subscriber)
);

-- Tables that are not treated by the defaults. Replicated; read while decoding.
CREATE TABLE table_setting (
	schema_name text NOT NULL,
	table_name text NOT NULL,
	replicated boolean NOT NULL,
	PRIMARY KEY (schema_name, table_name)
) WITH (user_catalog_table = true);

-- What this subscriber knows of its links.
CREATE TABLE link (
	provider integer PRIMARY KEY,
	paused boolean NOT NULL DEFAULT false,
	full_origins text NOT NULL DEFAULT 'own', -- 'own', 'all' or node numbers: what the provider sends in full
	skip_lsn pg_lsn[] NOT NULL DEFAULT '{}', -- skip_transaction(): end positions of the provider's transactions
	seen text, -- frontier text: what the provider had seen ...
	seen_lsn pg_lsn -- ... at this position of its stream
);

-- Deleted keys: the row's own commit timestamp and origin are the version of the delete.
CREATE TABLE tombstone (
	relid oid NOT NULL,
	key_hash bigint NOT NULL,
	key bytea NOT NULL
);
ALTER TABLE tombstone ALTER COLUMN key SET STORAGE MAIN;
CREATE INDEX tombstone_key ON tombstone (relid, key_hash);

-- Writes that lost, or replaced a concurrent one.
CREATE TABLE conflict_log (
	detected_at timestamptz NOT NULL,
	relid oid NOT NULL,
	table_name text NOT NULL,
	conflict_type text NOT NULL,
	resolution text NOT NULL,
	row_key jsonb,
	local_row jsonb,
	local_origin integer,
	local_timestamp timestamptz,
	remote_row jsonb,
	remote_origin integer,
	remote_timestamp timestamptz,
	detail text
);
CREATE INDEX conflict_log_detected_at ON conflict_log (detected_at);

-- Counts of conflicts; each link worker updates rows of its own (provider), so none waits for another.
CREATE TABLE conflict_count (
	provider integer NOT NULL,
	relid oid NOT NULL,
	table_name text NOT NULL,
	conflict_type text NOT NULL,
	resolution text NOT NULL,
	n bigint NOT NULL,
	last_at timestamptz NOT NULL,
	PRIMARY KEY (provider, relid, conflict_type, resolution)
);

-- Joining: the part of the schema that comes after the rows; deleted by the transaction that has run it.
CREATE TABLE join_script (
	only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
	script bytea NOT NULL
);

-- Subscribers for which this node has made a slot. One that is gone is never made again: what was written
-- meanwhile would be missing there, and nobody would know.
CREATE TABLE slot_history (
	subscriber integer PRIMARY KEY
);

-- Numbers and names promised to nodes that are about to join.
CREATE TABLE node_reservation (
	node_id integer PRIMARY KEY,
	node_name text NOT NULL,
	dsn text NOT NULL, -- of the joining node: it may try again
	reserved_at timestamptz NOT NULL DEFAULT now()
);
