--
-- Unique keys beside the primary key, and exclusion constraints: two nodes can each write a row that is right there, and that
-- cannot stand beside the other one. The newest is shown everywhere, the others are parked, and come back when their place is free.
--
\set SHOW_CONTEXT never
\c regression_tokyo
SELECT on_all_nodes('CREATE TABLE member (id int PRIMARY KEY, name text UNIQUE, since int)');
SELECT on_all_nodes('CREATE TABLE booking (id int PRIMARY KEY, room int, during tsrange, EXCLUDE USING gist (int4range(room, room, ''[]'') WITH =, during WITH &&))');
CREATE FUNCTION parked() RETURNS TABLE (nodes text, "row" text) LANGUAGE sql AS $$
	SELECT * FROM everywhere('SELECT "table", "constraint", row_key, node FROM replication_plugin.parked_rows ORDER BY "table"::text, row_key::text') $$;
SELECT hold();
INSERT INTO member VALUES (1, 'ann', 1), (2, 'bob', 1);
INSERT INTO booking VALUES (1, 7, '[2026-01-01 10:00, 2026-01-01 11:00)'), (2, 8, '[2026-01-01 10:00, 2026-01-01 11:00)');
\c regression_paris
INSERT INTO member VALUES (3, 'ann', 3);
INSERT INTO booking VALUES (3, 7, '[2026-01-01 10:30, 2026-01-01 11:30)');
\c regression_lima
INSERT INTO member VALUES (4, 'ann', 4), (5, 'carl', 4);
INSERT INTO booking VALUES (4, 7, '[2026-01-01 11:00, 2026-01-01 12:00)');
SELECT release();
-- ann is the newest one's; the room is lima's from 11, so paris cannot have it, and tokyo can
SELECT * FROM everywhere('SELECT * FROM member ORDER BY id');
CALL wait_until_everywhere('SELECT string_agg(id::text, '' '' ORDER BY id) FROM booking', '1 2 4');
SELECT * FROM everywhere('SELECT id, room, during FROM booking ORDER BY id');
\c regression_tokyo
SELECT * FROM parked();
-- as rows of their table
SELECT * FROM replication_plugin.parked_of(NULL::member) ORDER BY id;

--
-- A place that becomes free is taken by the next newest; who leaves it, how, and on which node, does not matter.
--
UPDATE member SET name = 'ann from lima' WHERE id = 4;
CALL wait_until_everywhere('SELECT id FROM member WHERE name = ''ann''', '3');
SELECT * FROM everywhere('SELECT * FROM member ORDER BY id');
SELECT * FROM parked();
\c regression_paris
DELETE FROM member WHERE id = 3;
DELETE FROM booking WHERE id IN (1, 4);
CALL wait_until_everywhere('SELECT id FROM member WHERE name = ''ann''', '1');
CALL wait_until_everywhere('SELECT count(*) FROM booking WHERE id = 3', '1');
SELECT * FROM everywhere('SELECT * FROM member ORDER BY id');
SELECT * FROM everywhere('SELECT id FROM booking ORDER BY id');
SELECT * FROM everywhere('SELECT count(*) FROM replication_plugin.parked_rows');

--
-- A parked row takes part: an INSERT of its key replaces it, here on paris.
--
SELECT hold();
INSERT INTO member VALUES (6, 'dora', 6), (7, 'eve', 7);
\c regression_lima
INSERT INTO member VALUES (8, 'dora', 8), (9, 'eve', 9);
SELECT release();
SELECT * FROM everywhere('SELECT row_key, blocked_by FROM replication_plugin.parked_rows ORDER BY row_key::text');
-- whose row it was is told where the second of the two arrived: here by both that wrote
\c regression_lima
SELECT conflict_type, resolution, row_key, local_origin, remote_origin, detail FROM replication_plugin.conflicts
	WHERE table_name = 'public.member' AND row_key IN ('{"id": 6}', '{"id": 7}') ORDER BY row_key;
\c regression_paris
SELECT conflict_type, resolution, row_key, local_origin, remote_origin, detail FROM replication_plugin.conflicts
	WHERE table_name = 'public.member' AND row_key IN ('{"id": 6}', '{"id": 7}') ORDER BY row_key;
INSERT INTO member VALUES (6, 'dora too', 60);
SELECT replication_plugin.wait_for_apply();
DELETE FROM member WHERE id = 9;
CALL wait_until_everywhere('SELECT id FROM member WHERE name = ''eve''', '7');
SELECT * FROM everywhere('SELECT * FROM member WHERE id > 5 ORDER BY id');
SELECT * FROM everywhere('SELECT count(*) FROM replication_plugin.parked_rows');

--
-- Foreign keys are not checked for rows that arrive: a delete that was under way can leave a reference without its row.
--
SELECT on_all_nodes('CREATE TABLE fee (id int PRIMARY KEY, member int REFERENCES member)');
\c regression_tokyo
SELECT hold();
DELETE FROM member WHERE id = 5;
\c regression_paris
INSERT INTO fee VALUES (1, 5), (2, 2);
SELECT release();
SELECT * FROM everywhere('SELECT "constraint", "table", "row", missing_in, missing FROM replication_plugin.dangling_references()');
DELETE FROM fee WHERE id = 1;
SELECT replication_plugin.wait_for_apply();
SELECT * FROM everywhere('SELECT count(*) FROM replication_plugin.dangling_references()');

\c regression_tokyo
DROP FUNCTION parked;
SELECT on_all_nodes('DROP TABLE fee, member, booking');
