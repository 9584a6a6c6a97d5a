--
-- Links: pausing them, what happens when one cannot go on, and how it is mended.
--
\set SHOW_CONTEXT never
\c regression_paris
-- of rows that are deleted nothing is kept when all nodes have the deletes (lesson 6)
CALL wait_until_everywhere('SELECT count(*) FROM replication_plugin.row_state', '0');
SELECT on_all_nodes('DROP TABLE forgotten');
SELECT on_all_nodes('CREATE TABLE parcel (id int PRIMARY KEY, v text)');
CALL wait_until_everywhere('SELECT links_stand(6)', 't');
-- no transaction has stopped one so far
SELECT provider, kind, full_origins, coalesce(last_error, '') ~ 'CONTEXT: ' AS stopped FROM replication_plugin.links ORDER BY 1;
-- Why a link does not go on, in lines
SELECT on_all_nodes($$ CREATE FUNCTION error_of(name text) RETURNS SETOF text LANGUAGE sql AS $f$
	SELECT regexp_split_to_table(regexp_replace(last_error, '[0-9A-F]+/[0-9A-F]+', 'LSN', 'g'), ' (?=DETAIL:|CONTEXT:|HINT:|The link|As a last)')
	FROM replication_plugin.links WHERE provider = name $f$ $$);

--
-- A pause: paris takes nothing on its links until they are resumed. The others keep it.
--
SELECT replication_plugin.pause_link(provider) FROM replication_plugin.links;
CALL wait_until($$(SELECT bool_and(state = 'paused') FROM replication_plugin.links)$$);
\c regression_tokyo
INSERT INTO parcel VALUES (1, 'tokyo');
SELECT replication_plugin.wait_for_apply('100 ms'); -- not everywhere
CALL wait_until($$(SELECT NOT active FROM replication_plugin.slots WHERE subscriber = 'paris')$$); -- the session that sent to it ends
SELECT subscriber, active, retained_bytes > 0 AS keeps FROM replication_plugin.slots WHERE subscriber = 'paris';
\c regression_lima
CALL wait_until('EXISTS (SELECT FROM parcel)');
SELECT * FROM everywhere('SELECT * FROM parcel');
-- What lima writes now, it writes after having seen tokyo's. So paris, which hears of lima again but not of tokyo, waits for that
-- before it goes on; after replication_plugin.reroute_timeout it asks lima for tokyo's as well.
UPDATE parcel SET v = 'lima, after tokyo';
\c regression_paris
SELECT replication_plugin.resume_link('lima');
CALL wait_until($$(SELECT state = 'blocked' AND waits_for ~ '^tokyo ' OR 'tokyo' = ANY (full_origins) FROM replication_plugin.links WHERE provider = 'lima')$$);
SELECT replication_plugin.resume_link('tokyo');
CALL wait_until($$(SELECT bool_and(state = 'streaming') FROM replication_plugin.links)$$);
CALL wait_until_everywhere('SELECT v FROM parcel', 'lima, after tokyo');
INSERT INTO parcel VALUES (2, 'paris'), (3, 'paris');

--
-- A table that is not there: its link stops, with the reason, and goes on when it is. The other links are not concerned.
--
\c regression_tokyo
CREATE TABLE only_here (id int PRIMARY KEY);
INSERT INTO only_here VALUES (1);
INSERT INTO parcel VALUES (4, 'behind it');
\c regression_paris
CALL wait_until($$(SELECT last_error ~ 'only_here' FROM replication_plugin.links WHERE provider = 'tokyo')$$);
SELECT error_of('tokyo');
INSERT INTO parcel VALUES (5, 'paris'); -- lima gets it
\c regression_lima
CALL wait_until('EXISTS (SELECT FROM parcel WHERE id = 5)');
CREATE TABLE only_here (id int PRIMARY KEY);
\c regression_paris
CREATE TABLE only_here (id int PRIMARY KEY);
CALL wait_until_everywhere('SELECT count(*) FROM only_here', '1');
CALL wait_until_everywhere('SELECT count(*) FROM parcel', '5');
CALL wait_until($$(SELECT count(*) = 2 AND bool_and(state = 'streaming') FROM replication_plugin.links)$$);

--
-- A row that does not fit: make room on the node that cannot take it.
--
ALTER TABLE parcel ADD CONSTRAINT not_heavy CHECK (v <> 'too heavy for paris');
\c regression_tokyo
UPDATE parcel SET v = 'too heavy for paris' WHERE id = 1;
\c regression_paris
CALL wait_until($$(SELECT last_error ~ 'not_heavy' FROM replication_plugin.links WHERE provider = 'tokyo')$$);
SELECT error_of('tokyo');
ALTER TABLE parcel DROP CONSTRAINT not_heavy;
CALL wait_until_everywhere('SELECT v FROM parcel WHERE id = 1', 'too heavy for paris');

--
-- The last resort: a transaction that is left out here, by the position that the error names. This row then differs.
--
ALTER TABLE parcel ADD CONSTRAINT not_wanted CHECK (v <> 'not for paris');
\c regression_tokyo
UPDATE parcel SET v = 'not for paris' WHERE id = 2;
\c regression_paris
CALL wait_until($$(SELECT last_error ~ 'not_wanted' FROM replication_plugin.links WHERE provider = 'tokyo')$$);
SELECT substring(last_error, 'transaction ([0-9A-F]+/[0-9A-F]+)') AS lsn FROM replication_plugin.links WHERE provider = 'tokyo' \gset
SET client_min_messages = error; -- a warning says so, with the position
SELECT replication_plugin.skip_transaction('tokyo', :'lsn');
RESET client_min_messages;
CALL wait_until($$(SELECT bool_and(state = 'streaming') FROM replication_plugin.links)$$);
CALL wait_until($$EXISTS (SELECT FROM everywhere('SELECT v FROM parcel WHERE id = 2') WHERE nodes ~ 'lima' AND "row" = 'not for paris')$$);
SELECT * FROM everywhere('SELECT id, v FROM parcel WHERE id = 2');
-- the next write makes it equal again
ALTER TABLE parcel DROP CONSTRAINT not_wanted;
\c regression_tokyo
UPDATE parcel SET v = 'for all' WHERE id = 2;
SELECT replication_plugin.wait_for_apply();
SELECT * FROM everywhere('SELECT id, v FROM parcel WHERE id = 2');

SELECT on_all_nodes('DROP TABLE parcel, only_here; DROP FUNCTION error_of');
