# No setting of anybody changes what other nodes get, or stops anything: of the system, a database, a role, a role in a database,
# a session that writes; while a node joins, and later.
use strict;
use warnings;
use Mesh;
use PostgreSQL::Test::Utils;
use Test::More;

my $mesh = Mesh->new(3);
my $user = $mesh->user;
my @nodes = 1 .. 3;

# What somebody may have set. The values are unlike those that the other nodes, and our own sessions, have.
my %text = (extra_float_digits => -15, datestyle => "'German, DMY'", intervalstyle => 'sql_standard', array_nulls => 'off', xmloption => 'document',
	xmlbinary => 'hex', lc_monetary => "'C.UTF-8'", lc_numeric => "'C.UTF-8'", lc_time => "'C.UTF-8'", bytea_output => 'escape', timezone => "'Asia/Kathmandu'",
	client_encoding => 'LATIN1', quote_all_identifiers => 'on', search_path => 'nowhere');
my %other = (default_transaction_isolation => "'repeatable read'", default_transaction_read_only => 'on', default_transaction_deferrable => 'on',
	default_toast_compression => 'pglz', row_security => 'off', statement_timeout => "'30ms'", lock_timeout => "'1ms'",
	idle_in_transaction_session_timeout => "'10ms'", idle_session_timeout => "'10ms'", check_function_bodies => 'off',
	standard_conforming_strings => 'off', escape_string_warning => 'off', backslash_quote => 'off', transform_null_equals => 'on', session_replication_role => 'replica',
	synchronous_commit => 'off', work_mem => "'64kB'", zero_damaged_pages => 'on', exit_on_error => 'on', gin_fuzzy_search_limit => 1,
	force_parallel_mode => 'regress', default_text_search_config => 'german', 'plpgsql.extra_errors' => "'all'", 'plpgsql.variable_conflict' => 'use_column',
	enable_indexscan => 'off', enable_bitmapscan => 'off', role => 'nobody_much', temp_file_limit => "'64kB'", maintenance_work_mem => "'1MB'");
# Other values of the same settings, for another node.
my %text2 = (%text, extra_float_digits => 0, datestyle => "'SQL, MDY'", intervalstyle => 'iso_8601', timezone => "'America/Caracas'", client_encoding => 'WIN1252',
	search_path => "'also nowhere'");

sub settings { my ($prefix, %s) = @_; return join '; ', map { "$prefix SET $_ = $s{$_}" } sort keys %s; }

# Sessions of this test are none of theirs, but where a writer's settings are what is tried.
my $calm = join ' ', map { my ($k, $v) = split /=/; "-c $k=$v" } qw(statement_timeout=0 lock_timeout=0 idle_in_transaction_session_timeout=0 idle_session_timeout=0
	default_transaction_read_only=off role=none temp_file_limit=-1 session_replication_role=origin exit_on_error=off search_path=public
	datestyle=ISO intervalstyle=postgres extra_float_digits=3 array_nulls=on standard_conforming_strings=on client_encoding=UTF8 timezone=UTC
	bytea_output=hex quote_all_identifiers=off lc_monetary=C xmloption=content force_parallel_mode=off row_security=on);
$calm .= ' -c default_transaction_isolation=read\\ committed';

my @values = qw(real numeric stamp span pair list pairs ranges mood moods doc money bytes);
my $setup = <<'SQL';
CREATE DOMAIN real_d AS float8 CHECK (VALUE > -1);
CREATE DOMAIN stamp_d AS timestamptz;
CREATE DOMAIN span_d AS interval;
CREATE DOMAIN day_d AS date;
CREATE DOMAIN short_d AS varchar(12) CHECK (length(VALUE) > 1);
CREATE DOMAIN cash_d AS money;
CREATE DOMAIN xml_d AS xml;
CREATE TYPE mood AS ENUM ('froh', 'übel', 'süß');
CREATE TYPE pair AS (a float8, b timestamptz, c interval, d bytea, e day_d, f cash_d, g xml, h float8[]);
CREATE TYPE pair_k AS (a float8, b timestamptz, c interval, d bytea, e day_d, f cash_d, h float8[]);
CREATE TYPE real_range AS RANGE (subtype = float8);
CREATE TABLE v (id int PRIMARY KEY, r real_d, s stamp_d, i span_d, d day_d, t short_d, m cash_d, x xml_d, p pair, rs real_d[], ds day_d[], ps pair[], rg real_range,
	mo mood, ms mood[], cl regclass, cls regclass[], o oid);
CREATE TABLE key_real (k real_d PRIMARY KEY, v text);
CREATE TABLE key_stamp (k stamp_d PRIMARY KEY, v text);
CREATE TABLE key_day (k day_d, l mood, PRIMARY KEY (k, l), v text);
CREATE TABLE key_pair (k pair_k PRIMARY KEY, v text);
CREATE TABLE full_row (r real_d, p pair, rs real_d[], mo mood);
ALTER TABLE full_row REPLICA IDENTITY FULL;
CREATE TABLE s (LIKE v INCLUDING ALL);
CREATE TABLE c (id int PRIMARY KEY, tags real_d[] NOT NULL DEFAULT '{}', moods mood[] NOT NULL DEFAULT '{}', days day_d[] NOT NULL DEFAULT '{}', n numeric DEFAULT 0);
CREATE TABLE h (id int PRIMARY KEY, d day_d, word text);
CREATE FUNCTION join_h(older h, newer h) RETURNS h LANGUAGE plpgsql AS $$
BEGIN newer.word := older.d || ' ' || newer.d || ' ' || '04.05.2021'::date || ' ' || to_char(1.5, '0D0') || ' ' || (ARRAY['x', 'NULL'])::text
	|| ' ' || (1::float8 / 3) || ' ' || 'a\b' || ' ' || to_tsvector('die Häuser')::text; RETURN newer; END $$;
CREATE TABLE uq (id int PRIMARY KEY, p pair_k UNIQUE, v text);
CREATE TABLE sorted (id int PRIMARY KEY, v text);
CREATE INDEX ON sorted (v);
INSERT INTO sorted SELECT g, repeat(md5(g::text), 4) FROM generate_series(1, 20000) g;
INSERT INTO v (id, r) VALUES (0, 0.1::float8 + 0.2);
SQL


# A row of table v or s with values that depend on settings, made by functions that do not; n makes them differ.
sub row_of
{
	my ($n) = @_;
	return "$n, (0.1::float8 + 0.2 + $n)::real_d, (to_timestamp(1612325106.789) + $n * interval '1 day')::stamp_d, (make_interval(1, 2, 0, -3, 4, 5, 6.7) * ($n + 1))::span_d,
		make_date(2020, 3, 4 + $n % 20)::day_d, (chr(92) || chr(223) || $n)::short_d, (1234.5 + $n)::numeric::money::cash_d, xmlelement(name a, chr(228))::xml_d,
		ROW(0.1::float8 + 0.2 + $n, to_timestamp(1612325106 + $n), make_interval(0, 0, 0, -1, 2, 3, 4), decode(lpad('00ff41$n', 14, '0'), 'hex'),
			make_date(2019, 12, 1 + $n % 28), (0.01 * $n)::numeric::money, xmlconcat(xmlelement(name a), xmlelement(name b, $n)), ARRAY[1::float8 / 3, NULL, $n])::pair,
		ARRAY[1::float8 / 3, NULL, $n]::real_d[], ARRAY[make_date(2001, 2, 3), NULL]::day_d[],
		ARRAY[ROW(2::float8 / 3, NULL, NULL, NULL, make_date(2001, 2, 3), NULL, NULL, NULL)::pair, NULL], real_range(1::float8 / 3, 2::float8 / 3 + $n),
		(enum_range(NULL::mood))[1 + $n % 3], ARRAY[(enum_range(NULL::mood))[2], NULL], 'v'::regclass, ARRAY['v'::regclass, 'pg_class'::regclass], NULL";
}

my $seq = 0;
# SQL in a session with settings of its own.
sub write_as
{
	my ($i, $settings, $sql) = @_;
	return $mesh->sql($i, settings('', %$settings) . "; SET search_path = public; $sql");
}

# Writes of all kinds on a node; n: numbers that are its own.
sub write_all
{
	my ($i, $settings, $n) = @_;
	my $m = $n + 1;
	write_as($i, $settings, "
		INSERT INTO v VALUES (" . row_of($n) . "), (" . row_of($m) . ");
		UPDATE v SET r = r + 1::float8 / 3, p.a = (p).a / 3, rs = rs || (1::float8 / 7)::real_d WHERE id = $n;
		DELETE FROM v WHERE id = $m;
		INSERT INTO s VALUES (" . row_of($n) . ");
		UPDATE s SET p.c = (p).c * 2, mo = (enum_range(NULL::mood))[2] WHERE id = $n;
		INSERT INTO key_real VALUES (1::float8 / 3 + $n, 'stays'), (1::float8 / 7 + $n, 'moves'), (1::float8 / 11 + $n, 'goes');
		UPDATE key_real SET k = k + 0.5 WHERE v = 'moves' AND k BETWEEN $n AND $m;
		DELETE FROM key_real WHERE v = 'goes' AND k BETWEEN $n AND $m;
		INSERT INTO key_stamp SELECT to_timestamp(1612325106.789 + $n * 1000 + g), CASE g WHEN 1 THEN 'stays' WHEN 2 THEN 'moves' ELSE 'goes' END FROM generate_series(1, 3) g;
		UPDATE key_stamp SET k = k + interval '0.25 s' WHERE v = 'moves' AND k BETWEEN to_timestamp(1612325106 + $n * 1000) AND to_timestamp(1612325116 + $n * 1000);
		DELETE FROM key_stamp WHERE v = 'goes' AND k BETWEEN to_timestamp(1612325106 + $n * 1000) AND to_timestamp(1612325116 + $n * 1000);
		INSERT INTO key_day SELECT make_date(2020 + $n, 3, g), (enum_range(NULL::mood))[1 + g % 3], g FROM generate_series(1, 12) g;
		UPDATE key_day SET k = make_date(2020 + $n, 5, v::int) WHERE extract(year FROM k) = 2020 + $n AND v::int < 5;
		DELETE FROM key_day WHERE k = make_date(2020 + $n, 3, 12);
		INSERT INTO key_pair SELECT ROW(g + 0.1::float8 + 0.2, to_timestamp(g), make_interval(0, 1, 0, -3, g), NULL, make_date(2001, 2, 3), NULL, ARRAY[1::float8 / 3, NULL])::pair_k, g
			FROM generate_series($n * 100, $n * 100 + 5) g;
		UPDATE key_pair SET k.a = (k).a + 1000 WHERE v = '" . ($n * 100 + 1) . "';
		DELETE FROM key_pair WHERE v = '" . ($n * 100 + 2) . "';
		INSERT INTO full_row SELECT r, p, rs, mo FROM v WHERE id = $n;
		INSERT INTO full_row SELECT r + 1, p, rs, mo FROM v WHERE id = $n;
		DELETE FROM full_row f USING v WHERE f.r = v.r AND v.id = $n;
		UPDATE full_row f SET mo = (enum_range(NULL::mood))[3] FROM v WHERE f.r = v.r + 1 AND v.id = $n;
		INSERT INTO c (id) VALUES ($n);
		UPDATE c SET tags = tags || (1::float8 / 3 + $n)::real_d || (1::float8 / 7)::real_d, moods = moods || (enum_range(NULL::mood))[2], days = days || (make_date(2001, 2, 3) + $n)::day_d, n = n + 0.1
			WHERE id IN (0, $n)");
}

$mesh->all_sql('CREATE ROLE nobody_much; GRANT CREATE ON SCHEMA public TO PUBLIC');
$mesh->sql(1, sprintf("SELECT replication_plugin.create_group('test', 'node1', '%s')", $mesh->dsn(1)));
$mesh->sql(1, $setup);
$mesh->sql(1, "SELECT replication_plugin.set_conflict_policy('s', 'siblings'); SELECT replication_plugin.set_conflict_policy('h', 'handler', 'join_h(h,h)');
	SELECT replication_plugin.set_column_merge('c', 'tags', 'set'); SELECT replication_plugin.set_column_merge('c', 'moods', 'set');
	SELECT replication_plugin.set_column_merge('c', 'days', 'set'); SELECT replication_plugin.set_column_merge('c', 'n', 'counter')");
$mesh->sql(1, 'INSERT INTO c (id) VALUES (0); INSERT INTO h VALUES (0, make_date(2020, 1, 2))');
write_all(1, \%text, 1);

# Node 2: the whole system. Node 3: its database and its role.
my %system = (%text, %other);
delete @system{qw(role plpgsql.extra_errors plpgsql.variable_conflict)};
$mesh->sql(2, "ALTER SYSTEM SET $_ = $system{$_}") for sort keys %system;
# (who a session is for its database counts where a session begins without a name: in workers)
$mesh->sql(3, settings('ALTER DATABASE app', %text2, session_authorization => 'nobody_much'));
$mesh->sql(3, settings("ALTER ROLE $user IN DATABASE app", datestyle => 'Postgres', intervalstyle => 'postgres_verbose', array_nulls => 'off'));
$mesh->sql(3, settings("ALTER ROLE $user", %other));
$mesh->node(2)->restart;
$mesh->node(3)->restart;
$ENV{PGOPTIONS} = $calm;

subtest 'joining' => sub {
	for my $i (2, 3)
	{
		$mesh->start_join($i);
		ok($mesh->poll($i, 'SELECT state FROM replication_plugin.local_node', 'ready', 120), "node $i joins") or
			BAIL_OUT('node ' . $i . ': ' . $mesh->sql($i, 'SELECT state, progress, last_error FROM replication_plugin.local_node'));
		$mesh->sql($i, 'SELECT replication_plugin.wait_until_ready()');
	}
	$mesh->wait_for_streaming;
	is($mesh->sql($_, 'SELECT count(*) FROM public.sorted'), 20000, "node $_ has the rows whose index took temporary files") for 2, 3;
	$mesh->sql(1, 'DELETE FROM sorted WHERE id > 9');
	$mesh->wait_converged;
	$mesh->is_identical('after joining');
};

# Node 1: its role in this database, from now on.
$mesh->sql(1, settings("ALTER ROLE $user IN DATABASE app", %text2, %other));
{
	delete local $ENV{PGOPTIONS};
	$mesh->node(1)->restart;
}
$mesh->wait_for_streaming;

subtest 'writing, each node under the settings of others' => sub {
	write_all(1, \%text2, 10);
	write_all(2, \%text, 20);
	write_all(3, \%text2, 30);
	# and as they are set there
	$mesh->wait_converged;
	$mesh->is_identical('rows of all kinds');
	is($mesh->sql(2, 'SELECT cls::text FROM v WHERE id = 10'), '{v,pg_class}', 'objects by their names');
	is($mesh->sql(3, 'SELECT n FROM c WHERE id = 0'), '0.4', 'counters');
};

subtest 'values that meet' => sub {
	$mesh->pause_all;
	write_as($_, $_ == 2 ? \%text : \%text2, "UPDATE s SET r = r + ${_}::float8 / 3, p.a = (p).a + $_, d = d + $_ WHERE id = 10;
		UPDATE c SET tags = tags || (${_}::float8 / 11)::real_d, days = days || make_date(2005, $_, 3)::day_d, n = n + 1 WHERE id = 0;
		UPDATE h SET d = make_date(2020, 1, 10 + $_) WHERE id = 0;
		INSERT INTO uq VALUES ($_, ROW(1::float8 / 3, to_timestamp(1), make_interval(0, 1, 0, -3), NULL, make_date(2001, 2, 3), NULL, ARRAY[1::float8 / 3, NULL])::pair_k, 'node$_')") for @nodes;
	$mesh->resume_all;
	$mesh->is_identical('concurrent values');
	$mesh->is_same_siblings('s', 'siblings');
	is($mesh->sql($_, 'SELECT word FROM h'), "2020-01-12 2020-01-13 2021-04-05  1.5 {x,\"NULL\"} 0.3333333333333333 a\\b 'die':1 'häuser':2", "a handler makes the same on node $_") for @nodes;
	is($mesh->sql($_, "SELECT count(*) || ' ' || min(v) FROM uq"), '1 node3', "one of three rows with the same value is shown on node $_") for @nodes;
	write_as(1, \%text, 'DELETE FROM uq');
	$mesh->wait_converged;
	ok($mesh->poll($_, 'SELECT count(*) FROM uq', 1), "another comes back on node $_") for @nodes;
	write_as(2, \%text2, 'TRUNCATE uq');
	$mesh->wait_converged;
	is($mesh->sql($_, 'SELECT count(*) FROM uq'), 0, "and all go with TRUNCATE on node $_") for @nodes;
	write_as(3, \%text2, 'TRUNCATE key_real, key_pair; TRUNCATE key_day, key_stamp, s');
	write_as(1, \%text, 'INSERT INTO key_real VALUES (0.1::float8 + 0.2, 1)');
	$mesh->wait_converged;
	$mesh->is_identical('after TRUNCATE');
};

subtest 'a value that was not sent is fetched' => sub {
	write_as(1, \%text, "INSERT INTO key_pair SELECT ROW(0.1::float8 + 0.2, to_timestamp(5), make_interval(0, 1), NULL, NULL, NULL, NULL)::pair_k, string_agg(md5(g::text), '') FROM generate_series(1, 500) g;
		ALTER TABLE key_pair ADD COLUMN n int");
	$mesh->sql($_, 'ALTER TABLE public.key_pair ADD COLUMN n int') for 2, 3;
	$mesh->wait_converged;
	$mesh->pause_all;
	write_as(2, \%text2, 'DELETE FROM key_pair');
	write_as(1, \%text, 'UPDATE key_pair SET n = 1');
	$mesh->resume_all;
	$mesh->is_identical('after an update that met a delete');
	is($mesh->sql(2, 'SELECT n, length(v) FROM key_pair'), '1|16000', 'the row is whole');
};

# (a link's last error stays, and it is not streaming for a moment now and then)
ok($mesh->poll($_, "SELECT count(*) FROM replication_plugin.links WHERE state <> 'streaming'", 0), "links of node $_ are well") for @nodes;
done_testing();
