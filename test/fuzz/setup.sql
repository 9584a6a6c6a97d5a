-- What the fuzzers find in their database: types, and tables of all kinds that a write can meet.
CREATE EXTENSION replication_plugin;
CREATE SCHEMA fuzz;
CREATE TYPE fuzz.mood AS ENUM ('a', 'b', 'happy');
CREATE TYPE fuzz.pair AS (a int, b fuzz.mood);
CREATE DOMAIN fuzz.positive AS int CHECK (VALUE > 0);
CREATE DOMAIN fuzz.short AS text CHECK (length(VALUE) < 10) NOT NULL;
CREATE DOMAIN fuzz.moods AS fuzz.mood[];
SELECT replication_plugin.create_group('fuzz', node_name => 'one', dsn => format('host=%s port=%s dbname=%s user=%s',
	current_setting('unix_socket_directories'), current_setting('port'), current_database(), current_user));
DO $$ BEGIN WHILE (SELECT state FROM replication_plugin.nodes) <> 'ready' LOOP COMMIT; PERFORM pg_sleep(0.05); END LOOP; END $$;

CREATE TABLE fuzz.plain (id int PRIMARY KEY, b bool, i2 int2, i8 int8, f4 float4, f8 float8, n numeric, n2 numeric(5,2), t text,
	v varchar(5), c char(3), ba bytea, u uuid, d date, ts timestamptz, iv interval, j jsonb, ia int4[], ta text[], r int4range,
	mo fuzz.mood, p fuzz.pair, dp fuzz.positive, ms fuzz.moods, g int GENERATED ALWAYS AS (id + 1) STORED, w int DEFAULT 7);
CREATE TABLE fuzz.twofold (a text, b timestamptz, c int, PRIMARY KEY (b, a));
CREATE TABLE fuzz.keyed (a fuzz.mood, b fuzz.positive, c uuid, d varchar(3), e bytea, PRIMARY KEY (a, b, c, d, e));
CREATE TABLE fuzz.keyless (a int, b text, c numeric);
ALTER TABLE fuzz.keyless REPLICA IDENTITY FULL;
CREATE TABLE fuzz.inserts_only (a int, b text);
CREATE TABLE fuzz.places (id int PRIMARY KEY, email text UNIQUE, span int4range, EXCLUDE USING gist (span WITH &&));
CREATE TABLE fuzz.parted (id int, region text, note text, PRIMARY KEY (id, region)) PARTITION BY LIST (region);
CREATE TABLE fuzz.parted_eu PARTITION OF fuzz.parted FOR VALUES IN ('eu');
CREATE TABLE fuzz.parted_us (note text, region text NOT NULL, id int NOT NULL);
ALTER TABLE fuzz.parted ATTACH PARTITION fuzz.parted_us FOR VALUES IN ('us');
CREATE TABLE fuzz.wiki (id int PRIMARY KEY, t text, n numeric);
CREATE TABLE fuzz.shop (id int PRIMARY KEY, likes int, tags text[], doc jsonb, note text, price numeric(8,2), uniq int UNIQUE);
CREATE TABLE fuzz.altered (id int PRIMARY KEY, gone int, a int, b text);
SELECT replication_plugin.set_conflict_policy('fuzz.wiki', 'siblings');
SELECT replication_plugin.set_column_merge('fuzz.shop', 'likes', 'counter');
SELECT replication_plugin.set_column_merge('fuzz.shop', 'tags', 'set');
SELECT replication_plugin.set_column_merge('fuzz.shop', 'doc', 'map');
SELECT replication_plugin.set_column_merge('fuzz.shop', 'note', 'last_write_wins');
SELECT replication_plugin.set_conflict_policy('fuzz.altered', 'siblings');
INSERT INTO fuzz.plain (id, t, n) VALUES (1, 'one', 1.5), (2, 'two', NULL), (-5, repeat('x', 3000), 7);
INSERT INTO fuzz.twofold VALUES ('a', '2024-01-01', 1);
INSERT INTO fuzz.keyless VALUES (1, 'one', 1.50), (1, 'one', 1.50), (2, NULL, NULL);
INSERT INTO fuzz.places VALUES (1, 'a@b', '[1,5)'), (2, 'c@d', '[7,9)');
INSERT INTO fuzz.parted VALUES (1, 'eu', 'e'), (2, 'us', 'u');
INSERT INTO fuzz.wiki VALUES (1, 'one', 1), (2, 'two', 2);
DELETE FROM fuzz.wiki WHERE id = 2;
INSERT INTO fuzz.shop VALUES (1, 10, '{a,b}', '{"a": 1, "b": {"c": 2}}', 'n', 5.50, 1), (2, 1, NULL, NULL, NULL, NULL, 2);
UPDATE fuzz.shop SET likes = likes + 1, tags = '{b,c}', doc = '{"a": 2}' WHERE id = 1;
DELETE FROM fuzz.shop WHERE id = 2;
INSERT INTO fuzz.altered VALUES (1, 1, 1, 'one');
ALTER TABLE fuzz.altered DROP COLUMN gone;
ALTER TABLE fuzz.altered ADD COLUMN late int DEFAULT 5;
