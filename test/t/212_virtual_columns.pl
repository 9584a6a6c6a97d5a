# Virtual generated columns (PostgreSQL 18 and newer) have no value in a row: each node computes them when they are read. They are not
# sent, and left out where changes are shown as JSON, in which null would be a wrong value. Siblings, parked rows and what a handler is called with
# have them as who reads the table has.
use strict;
use warnings;
use Mesh;
use Test::More;

my ($major) = `postgres --version` =~ /\) (\d+)/;
plan skip_all => "PostgreSQL $major has no virtual generated columns: needs 18" if $major < 18;

my $mesh = Mesh->new(2);
$mesh->make_group(<<'SQL');
CREATE TABLE v (id int PRIMARY KEY, n int, twice int GENERATED ALWAYS AS (n * 2) VIRTUAL NOT NULL, kept int GENERATED ALWAYS AS (n * 3) STORED,
	CHECK (twice < 1000));
CREATE TABLE keyless (a int, b int GENERATED ALWAYS AS (a + 1) VIRTUAL, c text);
ALTER TABLE keyless REPLICA IDENTITY FULL;
CREATE TABLE merges (id int PRIMARY KEY, n int, twice int GENERATED ALWAYS AS (n * 2) VIRTUAL, label text, shout text GENERATED ALWAYS AS (upper(label) || '!') VIRTUAL,
	kept int GENERATED ALWAYS AS (n * 3) STORED);
CREATE TABLE handled (id int PRIMARY KEY, n int, twice int GENERATED ALWAYS AS (n * 2) VIRTUAL NOT NULL, seen text, CHECK (twice < 1000));
CREATE FUNCTION add_up(older handled, newer handled) RETURNS handled LANGUAGE plpgsql IMMUTABLE
	AS $$ BEGIN newer.seen := older.twice || '+' || newer.twice; newer.n := older.n + newer.n; newer.twice := 999; RETURN newer; END $$;
CREATE TABLE places (id int PRIMARY KEY, place int UNIQUE, next int GENERATED ALWAYS AS (place + 1) VIRTUAL);
INSERT INTO v VALUES (1, 10), (2, 20);
SQL
$mesh->sql(1, "SELECT replication_plugin.set_conflict_policy('merges', 'siblings'), replication_plugin.set_conflict_policy('handled', 'handler', 'add_up(handled, handled)')");
$mesh->sql(1, "SELECT slot_name FROM pg_create_logical_replication_slot('json', 'replication_plugin')");
$mesh->wait_converged;

$mesh->sql(1, "INSERT INTO v VALUES (3, 30); INSERT INTO keyless VALUES (1, DEFAULT, 'x'), (2, DEFAULT, 'y'), (2, DEFAULT, 'y')");
$mesh->wait_converged;
$mesh->sql(2, "UPDATE v SET n = n + 1; DELETE FROM v WHERE id = 2; UPDATE keyless SET a = 5 WHERE a = 1");
$mesh->sql(2, "DELETE FROM keyless WHERE ctid = (SELECT max(ctid) FROM keyless WHERE a = 2)");
$mesh->wait_converged;
is($mesh->sql($_, 'SELECT string_agg(x::text, \' \' ORDER BY id) FROM v x'), '(1,11,22,33) (3,31,62,93)', "node $_ computes them") for 1, 2;
is($mesh->sql($_, 'SELECT string_agg(x::text, \' \' ORDER BY a) FROM keyless x'), '(2,3,y) (5,6,x)', "node $_: a table without a key") for 1, 2;

my $json = $mesh->sql(1, "SELECT data FROM pg_logical_slot_get_changes('json', NULL, NULL, 'format', 'json')");
like($json, qr/"name":"kept"/, 'JSON has columns that are stored');
unlike($json, qr/"name":"(twice|b)"/, '... and none that is virtual');
like($json, qr/"name":"c","type":"text","value":"x"/, '... and all columns after one');

$mesh->pause_all;
$mesh->sql($_, "UPDATE v SET n = n + $_ WHERE id = 1; INSERT INTO merges (id, n, label) VALUES (1, $_, 'of $_');
	INSERT INTO handled (id, n) VALUES (1, $_); INSERT INTO places (id, place) VALUES ($_, 5)") for 1, 2;
$mesh->resume_all;
is($mesh->sql($_, 'SELECT twice FROM v WHERE id = 1'), 26, "node $_: the newer write wins") for 1, 2;
is($mesh->sql($_, q(SELECT string_agg("row" ->> 'n', ' ' ORDER BY "row" ->> 'n') FROM replication_plugin.siblings('merges', '{"id": 1}'))),
	'1 2', "node $_: siblings") for 1, 2;
is($mesh->sql($_, q(SELECT string_agg("row"::text, ' ' ORDER BY "row" ->> 'n') FROM replication_plugin.siblings('merges', '{"id": 1}'))) =~ s/: /:/gr =~ s/, "/,"/gr,
	'{"n":1,"id":1,"kept":3,"label":"of 1","shout":"OF 1!","twice":2} {"n":2,"id":1,"kept":6,"label":"of 2","shout":"OF 2!","twice":4}', "node $_: siblings have values of virtual columns") for 1, 2;
is($mesh->sql($_, 'SELECT * FROM handled'), '1|3|6|2+4', "node $_: a handler is called with them, and what it returns is not stored") for 1, 2;
is($mesh->sql($_, q(SELECT local_older, same FROM replication_plugin.test_handler('handled', '{"id": 1, "n": 5}', '{"id": 1, "n": 6}'))), '{"n": 11, "id": 1, "seen": "10+12", "twice": 22}|f', "node $_: so does test_handler()") for 1, 2;
is($mesh->sql($_, 'SELECT * FROM places'), '2|5|6', "node $_: a place") for 1, 2;
is($mesh->sql($_, 'SELECT * FROM replication_plugin.parked_of(NULL::places)'), '1|5|6', "node $_: a parked row") for 1, 2;
is($mesh->sql(1, q(SELECT count(*) FROM replication_plugin.conflicts WHERE local_row ? 'twice' OR remote_row ? 'twice')), 0, 'conflicts tell of none')
	if $mesh->sql(1, q(SELECT count(*) FROM pg_attribute WHERE attrelid = 'replication_plugin.conflicts'::regclass AND attname IN ('local_row', 'remote_row') AND atttypid = 'jsonb'::regtype)) eq '2';
$mesh->sql(1, q(SELECT replication_plugin.resolve('merges', '{"id": 1}', '{"n": 7}')));
$mesh->wait_converged;
is($mesh->sql($_, 'SELECT * FROM merges'), '1|7|14|||21', "node $_: resolved") for 1, 2;
$mesh->is_identical('at the end');
done_testing();
