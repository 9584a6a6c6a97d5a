# Functions that come with a table (of an index, a constraint, a generated column, a default, a partition key, a type, a trigger) find names
# without a schema as in a session of the table's owner: when rows arrive, come back, are copied, and when a schema is. What such
# a function sets is gone behind it.
use strict;
use warnings;
use Mesh;
use PostgreSQL::Test::Utils;
use Test::More;

my $mesh = Mesh->new(3);
my @nodes = 1 .. 3;

# Roles and settings are not part of a database: the same everywhere, beforehand.
sub prepare
{
	my ($i) = @_;
	$mesh->sql($i, "CREATE ROLE maker; CREATE ROLE other; ALTER DATABASE app SET search_path = shop, public;
		ALTER ROLE maker IN DATABASE app SET search_path = tools, shop; ALTER ROLE other SET search_path = 'nowhere'; GRANT CREATE ON DATABASE app TO maker, other;
		GRANT CREATE ON SCHEMA public TO maker, other");
}
prepare($_) for @nodes;

$mesh->sql(1, sprintf("SELECT replication_plugin.create_group('test', 'node1', '%s')", $mesh->dsn(1)));
$mesh->sql(1, <<'SQL');
CREATE SCHEMA tools AUTHORIZATION maker;
CREATE SCHEMA shop AUTHORIZATION maker;
GRANT USAGE ON SCHEMA tools, shop TO other;
SET ROLE maker;
SET search_path = tools, shop;
CREATE FUNCTION tools.inner_word(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT lower($1)';
CREATE FUNCTION tools.word(text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN inner_word($1); END';
CREATE FUNCTION tools.word_sql(text) RETURNS text LANGUAGE sql IMMUTABLE AS 'SELECT inner_word($1)';
CREATE FUNCTION tools.size(text) RETURNS int LANGUAGE plpgsql IMMUTABLE AS 'BEGIN RETURN length(inner_word($1)); END';
CREATE FUNCTION tools.size_sql(text) RETURNS int LANGUAGE sql IMMUTABLE AS 'SELECT length(inner_word($1))';
CREATE DOMAIN shop.named AS text CHECK (tools.word(VALUE) <> 'nobody');
CREATE TABLE shop.notes (id serial, note text);
CREATE TABLE shop.indexed (id int PRIMARY KEY, v text);
CREATE INDEX ON shop.indexed (tools.word(v));
CREATE INDEX ON shop.indexed (tools.word_sql(v));
CREATE UNIQUE INDEX ON shop.indexed (tools.word(v || 'u')) WHERE tools.size(v) > 3;
CREATE TABLE shop.checked (id int PRIMARY KEY, v text CHECK (tools.word(v) <> ''), CHECK (tools.word_sql(v) <> ''));
CREATE TABLE shop.generated (id int PRIMARY KEY, v text, g text GENERATED ALWAYS AS (tools.word(v)) STORED, h text GENERATED ALWAYS AS (tools.word_sql(v)) STORED);
CREATE TABLE shop.typed (id int PRIMARY KEY, v shop.named, list shop.named[]);
CREATE TABLE shop.keyed (k shop.named PRIMARY KEY, v text);
CREATE TABLE shop.excluded (id int PRIMARY KEY, v text, EXCLUDE (tools.word(v) WITH =), EXCLUDE (tools.word_sql(v || 'x') WITH =) WHERE (tools.size(v) > 2));
CREATE TABLE shop.parted (id int, v text) PARTITION BY RANGE (tools.size(v));
CREATE TABLE shop.parted_1 PARTITION OF shop.parted FOR VALUES FROM (0) TO (5);
CREATE TABLE shop.parted_2 (v text, id int, CHECK (tools.word(v) <> ''));
ALTER TABLE shop.parted ATTACH PARTITION shop.parted_2 FOR VALUES FROM (5) TO (100);
ALTER TABLE shop.parted REPLICA IDENTITY FULL;
ALTER TABLE shop.parted_1 REPLICA IDENTITY FULL;
ALTER TABLE shop.parted_2 REPLICA IDENTITY FULL;
CREATE TABLE shop.parted_sql (id int, v text) PARTITION BY LIST (tools.size_sql(v));
CREATE TABLE shop.parted_sql_1 PARTITION OF shop.parted_sql DEFAULT;
CREATE TABLE shop.merged (id int PRIMARY KEY, v text, n int DEFAULT 0, CHECK (tools.word(v) <> ''));
CREATE INDEX ON shop.merged (tools.word(v));
CREATE FUNCTION shop.merge_them(older shop.merged, newer shop.merged) RETURNS shop.merged LANGUAGE plpgsql AS
	$$ BEGIN newer.v := older.v || newer.v; RETURN newer; END $$;
CREATE TABLE shop.fired (id int PRIMARY KEY, v text);
CREATE FUNCTION tools.fire() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO notes (note) VALUES (word(NEW.v) || current_user); RETURN NEW; END $$;
CREATE TRIGGER fire AFTER INSERT OR UPDATE ON shop.fired FOR EACH ROW EXECUTE FUNCTION tools.fire();
ALTER TABLE shop.fired ENABLE ALWAYS TRIGGER fire;
CREATE MATERIALIZED VIEW shop.seen AS SELECT tools.word(v) AS v FROM shop.indexed;
-- what a function sets is gone behind it
CREATE TABLE shop.setting (id int PRIMARY KEY, v text);
CREATE FUNCTION tools.set_all() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	PERFORM set_config('search_path', 'evil, pg_catalog', false), set_config('array_nulls', 'off', false), set_config('DateStyle', 'SQL, DMY', false),
		set_config('default_transaction_read_only', 'on', false), set_config('extra_float_digits', '-10', false), set_config('row_security', 'off', true),
		set_config('lock_timeout', '1', true); RETURN NEW; END $$;
CREATE TRIGGER set_all BEFORE INSERT OR UPDATE ON shop.setting FOR EACH ROW EXECUTE FUNCTION tools.set_all();
ALTER TABLE shop.setting ENABLE ALWAYS TRIGGER set_all;
RESET ROLE;
-- of somebody whose path has none of it
SET search_path = public;
CREATE TABLE public.probe (id int PRIMARY KEY, what text);
CREATE TABLE public.found (what text);
ALTER TABLE public.probe OWNER TO other;
ALTER TABLE public.found OWNER TO other;
CREATE FUNCTION public.look() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
	INSERT INTO public.found SELECT string_agg(current_setting(s), ' | ') FROM unnest(ARRAY['search_path', 'array_nulls', 'datestyle', 'transaction_read_only', 'default_transaction_read_only', 'lock_timeout']) s; RETURN NEW; END $$;
CREATE TRIGGER look AFTER INSERT ON public.probe FOR EACH ROW EXECUTE FUNCTION public.look();
ALTER TABLE public.probe ENABLE ALWAYS TRIGGER look;
SELECT replication_plugin.exclude_table('shop.notes');
SELECT replication_plugin.exclude_table('public.found');
SELECT replication_plugin.set_conflict_policy('shop.merged', 'handler', 'shop.merge_them(shop.merged,shop.merged)');
SELECT replication_plugin.set_column_merge('shop.merged', 'n', 'counter');
SQL

# Rows in all tables, by the owner; n makes them differ.
sub fill
{
	my ($i, $n, $word) = @_;
	$mesh->sql($i, "SET ROLE maker; SET search_path = tools, shop;
		INSERT INTO indexed VALUES ($n, '${word}$n'); INSERT INTO checked VALUES ($n, '${word}$n'); INSERT INTO generated VALUES ($n, '${word}$n');
		INSERT INTO typed VALUES ($n, '${word}$n', ARRAY['${word}$n', 'x']::named[]); INSERT INTO keyed VALUES ('${word}$n', $n);
		INSERT INTO excluded VALUES ($n, '${word}$n'); INSERT INTO parted VALUES ($n, 'A'), ($n, '${word}XYZUV'); INSERT INTO parted_sql VALUES ($n, '${word}');
		INSERT INTO merged VALUES ($n, '${word}$n'); INSERT INTO fired VALUES ($n, '${word}$n')");
	$mesh->sql($i, "SET ROLE maker; SET search_path = tools, shop;
		UPDATE indexed SET v = v || 'A' WHERE id = $n; UPDATE checked SET v = v || 'A' WHERE id = $n; UPDATE generated SET v = v || 'A' WHERE id = $n;
		UPDATE typed SET v = v || 'A' WHERE id = $n; UPDATE keyed SET k = k || 'A' WHERE v = '$n'; UPDATE excluded SET v = v || 'A' WHERE id = $n;
		UPDATE parted SET v = v || 'LONGER' WHERE id = $n; UPDATE merged SET v = v || 'A', n = n + 1 WHERE id = $n; UPDATE fired SET v = v || 'A' WHERE id = $n");
}
fill(1, 1, 'One');

subtest 'joining' => sub {
	for my $i (2, 3)
	{
		$mesh->start_join($i);
		ok($mesh->poll($i, 'SELECT state FROM replication_plugin.local_node', 'ready', 120), "node $i joins") or
			BAIL_OUT("node $i: " . $mesh->sql($i, 'SELECT state, progress, last_error FROM replication_plugin.local_node'));
		$mesh->sql($i, 'SELECT replication_plugin.wait_until_ready()');
	}
	$mesh->wait_for_streaming;
	$ENV{PGOPTIONS} = '-c search_path=shop,tools'; # sessions of this test also have the tables' functions, by the way
	my $indexes = "SELECT string_agg(pg_get_indexdef(indexrelid), E'\\n' ORDER BY indexrelid::regclass::text) || (SELECT string_agg(pg_get_constraintdef(oid), E'\\n' ORDER BY conname, conrelid::regclass::text)
		FROM pg_constraint WHERE connamespace = 'shop'::regnamespace) FROM pg_index WHERE indrelid::regclass::text IN ('indexed', 'excluded', 'merged')";
	is($mesh->sql($_, $indexes), $mesh->sql(1, $indexes), "indexes and constraints of node $_ are those of node 1") for 2, 3;
	is($mesh->sql(3, 'SELECT v FROM shop.seen'), 'one1a', 'the materialised view is filled');
	$mesh->is_identical('after joining');
};

subtest 'rows that arrive' => sub {
	fill($_, $_ * 10, "Word$_") for @nodes;
	$mesh->wait_converged;
	$mesh->is_identical('rows of all tables');
	is($mesh->sql($_, "SELECT count(*) FROM shop.notes WHERE note ~ '^word.*maker\$' AND note !~ '[A-Z]'"), $mesh->sql(1, "SELECT count(*) FROM shop.notes WHERE note ~ '^word'"),
		"triggers have found their functions and tables on node $_, as the owner") for @nodes;
	$mesh->sql(2, "SET ROLE maker; SET search_path = tools, shop; ALTER TABLE checked ADD COLUMN extra named DEFAULT tools.word('DEF')");
	fill(1, 41, 'More');
	$mesh->wait_converged;
	is($mesh->sql(2, 'SELECT extra FROM shop.checked WHERE id = 41'), 'def', 'a default of a column that only one node has');
	$mesh->sql($_, "SET ROLE maker; SET search_path = tools, shop; ALTER TABLE checked ADD COLUMN extra named DEFAULT tools.word('DEF')") for 1, 3;
};

subtest 'conflicts' => sub {
	$mesh->pause_all;
	$mesh->sql($_, "SET ROLE maker; SET search_path = tools, shop; UPDATE merged SET v = 'Node$_', n = n + 1 WHERE id = 1; UPDATE checked SET v = 'Node$_' WHERE id = 1;
		UPDATE typed SET v = 'Node$_' WHERE id = 1; INSERT INTO indexed VALUES (100 + $_, 'Contested'); INSERT INTO excluded VALUES (100 + $_, 'Contested')") for @nodes;
	$mesh->resume_all;
	$mesh->is_identical('after conflicts');
	is($mesh->sql($_, 'SELECT v, n FROM shop.merged WHERE id = 1'), 'Node1Node2Node3|4', "the handler's row stands, on node $_") for @nodes;
	is($mesh->sql($_, "SELECT (SELECT string_agg(id::text, ' ') FROM shop.indexed WHERE id > 100) || (SELECT string_agg(id::text, ' ') FROM shop.excluded WHERE id > 100)"),
		'103103', "one of three rows is shown on node $_") for @nodes;
	$mesh->sql(1, 'DELETE FROM shop.indexed WHERE id = 103; DELETE FROM shop.excluded WHERE id = 103');
	ok($mesh->poll($_, "SELECT (SELECT string_agg(id::text, ' ') FROM shop.indexed WHERE id > 100) || (SELECT string_agg(id::text, ' ') FROM shop.excluded WHERE id > 100)",
		'102102'), "another comes back on node $_") for @nodes;
	$mesh->sql(2, q{SELECT replication_plugin.resolve('shop.merged', '{"id": 1}', '{"v": "Solved", "n": 7}')});
	$mesh->sql(3, "SELECT replication_plugin.set_conflict_policy('shop.merged', 'siblings')");
	$mesh->wait_converged;
	$mesh->is_identical('after resolve() and another policy');
	is($mesh->sql(1, 'SELECT v FROM shop.merged WHERE id = 1'), 'Solved', 'resolve() has written the row');
};

subtest 'what a function sets' => sub {
	$mesh->sql(1, "BEGIN; INSERT INTO shop.setting VALUES (1, 'x'); SET search_path = public; SET LOCAL default_transaction_read_only = off; INSERT INTO public.probe VALUES (1); COMMIT");
	$mesh->sql(1, 'INSERT INTO public.probe VALUES (2)');
	$mesh->wait_converged;
	is($mesh->sql($_, "SELECT count(*) || ' ' || min(what) || ' / ' || max(what) FROM public.found"),
		'2 ' . join(' / ', ('pg_catalog, nowhere, pg_temp | on | ISO, MDY | off | off | 605s') x 2), "is gone behind it on node $_") for 2, 3;
};

subtest 'paths that differ' => sub {
	my $query = "SELECT count(*) FROM replication_plugin.preflight() WHERE requirement ~ '^search_path' AND NOT ok";
	is($mesh->sql(1, $query), 0, 'preflight() has nothing to say');
	$mesh->sql(3, 'CREATE SCHEMA here; CREATE FUNCTION here.inner_word(text) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT upper($1) $$; GRANT USAGE ON SCHEMA here TO maker;
		ALTER ROLE maker IN DATABASE app SET search_path = here, tools, shop');
	is($mesh->sql(1, $query), 1, 'preflight() tells of another path');
	like($mesh->sql(1, "SELECT detail FROM replication_plugin.preflight() WHERE requirement = 'search_path as on node node3'"),
		qr/^maker: here pg_catalog, tools, shop, pg_temp, there pg_catalog, here, tools, shop, pg_temp$/, '... which');
	fill(1, 50, 'Late');
	$mesh->wait_converged;
	is($mesh->sql(3, 'SELECT g FROM shop.generated WHERE id = 50'), 'LATE50A', 'it counts from the next transaction on');
};

ok($mesh->poll($_, "SELECT count(*) FROM replication_plugin.links WHERE state <> 'streaming'", 0), "links of node $_ are well") for @nodes;
done_testing();
