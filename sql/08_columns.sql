--
-- Columns that merge: concurrent changes of a column are put together, whatever becomes of the rest of the row.
--
\set SHOW_CONTEXT never
\c regression_tokyo
SELECT on_all_nodes('CREATE TABLE post (id int PRIMARY KEY, title text, likes int, tags text[], attrs jsonb, note text)');
SELECT replication_plugin.set_column_merge('post', 'likes', 'counter');
SELECT replication_plugin.set_column_merge('post', 'tags', 'set');
SELECT replication_plugin.set_column_merge('post', 'attrs', 'map');
SELECT replication_plugin.set_column_merge('post', 'note', 'last_write_wins');
INSERT INTO post VALUES (1, 'hello', 10, '{a,b}', '{"lang": "en", "size": {"w": 1, "h": 1}}', '');
SELECT replication_plugin.wait_for_apply();
SELECT * FROM everywhere('SELECT merges FROM replication_plugin.tables WHERE "table" = ''post''::regclass');

--
-- All nodes at once: increments add up, a set and a map take what each changes. The rest of the row is of the last write.
--
SELECT hold();
UPDATE post SET likes = likes + 1, tags = '{b,c}', note = 'by tokyo';
UPDATE post SET likes = likes + 1, title = 'hello from tokyo';
\c regression_paris
UPDATE post SET likes = likes + 5, attrs = jsonb_set(attrs, '{size,w}', '2');
\c regression_lima
UPDATE post SET likes = likes - 2, attrs = attrs - 'lang' || '{"by": "lima"}', tags = tags || '{d}'::text[], title = 'hello from lima';
SELECT release();
SELECT * FROM everywhere('SELECT * FROM post');
-- an element goes when it is removed, but stays where the one who removed it had not seen it added; a key of a map has the newest of
-- its values
SELECT hold();
UPDATE post SET tags = array_remove(tags, 'b'), attrs = jsonb_set(attrs, '{size,h}', '10');
UPDATE post SET tags = tags || '{b}'::text[];
\c regression_tokyo
UPDATE post SET tags = array_remove(tags, 'b'), attrs = jsonb_set(attrs, '{size,h}', '20');
\c regression_paris
UPDATE post SET tags = array_remove(tags, 'd');
SELECT release();
SELECT * FROM everywhere('SELECT tags, attrs FROM post');
-- An INSERT assigns. A row that was deleted meanwhile, before the last write of it, comes back with everything.
SELECT hold();
DELETE FROM post;
INSERT INTO post (id, likes) VALUES (2, 100);
\c regression_tokyo
UPDATE post SET likes = likes + 7;
SELECT release();
SELECT * FROM everywhere('SELECT id, title, likes FROM post ORDER BY id');

--
-- What cannot merge
--
SELECT replication_plugin.set_column_merge('post', 'title', 'counter');
SELECT replication_plugin.set_column_merge('post', 'likes', 'set');
SELECT replication_plugin.set_column_merge('post', 'id', 'counter');
SELECT replication_plugin.set_column_merge('post', 'no_such_column', 'counter');
SELECT replication_plugin.set_column_merge('post', 'likes', 'average');
ALTER TABLE post RENAME likes TO hearts; -- it is known by its name
-- It merges for ever; but new writes can replace the value as a whole.
SELECT replication_plugin.set_column_merge('post', 'likes', 'none');
SELECT replication_plugin.wait_for_apply();
SELECT hold();
UPDATE post SET likes = 1 WHERE id = 2;
\c regression_paris
UPDATE post SET likes = 2 WHERE id = 2;
SELECT release();
SELECT * FROM everywhere('SELECT id, likes FROM post WHERE id = 2');
SELECT * FROM everywhere('SELECT merges FROM replication_plugin.tables WHERE "table" = ''post''::regclass');

SELECT on_all_nodes('DROP TABLE post');
