# What the views say of each conflict: both rows and versions, whether the writes were concurrent, policy, outcome. Under
# storms rows are limited and counts are exact, also when a worker dies or a transaction is applied again.
use strict;
use warnings;
use Mesh;
use PostgreSQL::Test::Utils;
use Test::More;

my $mesh = Mesh->new(2, conf => "replication_plugin.conflict_log_rate = -1\n");
$mesh->make_group(<<'SQL');
CREATE TABLE t (id int PRIMARY KEY, v text);
INSERT INTO t SELECT g, 'first' FROM generate_series(1, 20) g;
CREATE TABLE storm (id int PRIMARY KEY, n int DEFAULT 0);
INSERT INTO storm SELECT g FROM generate_series(1, 1000) g;
SQL
$mesh->wait_converged;

sub hold { $mesh->pause(1, 2); $mesh->pause(2, 1); }
sub let_go { $mesh->resume(1, 2); $mesh->resume(2, 1); }

# Runs a transaction; returns its version as the views show it.
sub commit_of
{
	my ($i, $sql) = @_;
	my ($xid) = reverse split /\n/, $mesh->sql($i, "BEGIN; $sql; SELECT pg_current_xact_id()::text; COMMIT");
	return "node$i " . $mesh->sql($i, "SELECT pg_xact_commit_timestamp('$xid'::xid)");
}

# Two nodes write, neither sees the other's, the second is later. Returns their versions.
sub clash
{
	my ($first, $second) = @_;
	hold();
	my @versions = (commit_of(1, $first), commit_of(2, $second));
	let_go();
	$mesh->wait_converged;
	return @versions;
}

# What a node tells of the conflicts about a key, since it was last asked.
sub story
{
	my ($i, $table, $key) = @_;
	my $told = $mesh->sql($i, qq{SELECT concat_ws(' | ', conflict_type, resolution, row_key::text,
			coalesce(local_row::text, 'no row'), coalesce(local_origin || ' ' || local_timestamp, 'unknown'),
			coalesce(remote_row::text, 'no row'), coalesce(remote_origin || ' ' || remote_timestamp, 'unknown'),
			coalesce(concurrent::text, 'unknown'), policy)
		FROM replication_plugin.conflicts WHERE table_name = '$table' AND row_key = '$key' ORDER BY detected_at});
	$mesh->sql($i, "DELETE FROM replication_plugin.conflict_log WHERE table_name = '$table'");
	return $told;
}

sub tells
{
	my ($i, $name, $key, @parts) = @_;
	my $table = $name =~ s/ of (\S+)$// ? $1 : 'public.t';
	is(story($i, $table, $key), join(' | ', $parts[0], $parts[1], $key, @parts[2 .. $#parts], 'last_write_wins'), "$name: node $i");
}

# ---------- each type, on the node where it loses and where it wins ----------

my ($a, $b) = clash(q{UPDATE t SET v = 'A' WHERE id = 1}, q{UPDATE t SET v = 'B' WHERE id = 1});
my ($ra, $rb) = map { qq({"v": "$_", "id": 1}) } 'A', 'B';
tells(1, 'two updates', '{"id": 1}', 'update_origin_differs', 'apply_remote', $ra, $a, $rb, $b, 'true');
tells(2, 'two updates', '{"id": 1}', 'update_origin_differs', 'keep_local', $rb, $b, $ra, $a, 'true');

($a, $b) = clash(q{INSERT INTO t VALUES (101, 'A')}, q{INSERT INTO t VALUES (101, NULL)});
($ra, $rb) = ('{"v": "A", "id": 101}', '{"v": null, "id": 101}');
tells(1, 'two inserts', '{"id": 101}', 'insert_exists', 'apply_remote', $ra, $a, $rb, $b, 'true');
tells(2, 'two inserts', '{"id": 101}', 'insert_exists', 'keep_local', $rb, $b, $ra, $a, 'true');

($a, $b) = clash(q{UPDATE t SET v = 'A' WHERE id = 2}, q{DELETE FROM t WHERE id = 2});
$ra = '{"v": "A", "id": 2}';
tells(1, 'update, later delete', '{"id": 2}', 'delete_origin_differs', 'apply_remote', $ra, $a, 'no row', $b, 'true');
tells(2, 'update, later delete', '{"id": 2}', 'update_deleted', 'keep_local', 'no row', $b, $ra, $a, 'true');

($a, $b) = clash(q{DELETE FROM t WHERE id = 3}, q{UPDATE t SET v = 'B' WHERE id = 3});
$rb = '{"v": "B", "id": 3}';
tells(1, 'delete, later update', '{"id": 3}', 'update_deleted', 'apply_remote', 'no row', $a, $rb, $b, 'true');
tells(2, 'delete, later update', '{"id": 3}', 'delete_origin_differs', 'keep_local', $rb, $b, 'no row', $a, 'true');

($a, $b) = clash(q{DELETE FROM t WHERE id = 4}, q{DELETE FROM t WHERE id = 4});
tells(1, 'two deletes', '{"id": 4}', 'delete_missing', 'keep_local', 'no row', $a, 'no row', $b, 'true');
tells(2, 'two deletes', '{"id": 4}', 'delete_missing', 'keep_local', 'no row', $b, 'no row', $a, 'true');

($a, $b) = clash(q{INSERT INTO t VALUES (102, 'A')}, q{UPDATE t SET id = 102 WHERE id = 5});
($ra, $rb) = ('{"v": "A", "id": 102}', '{"v": "first", "id": 102}');
tells(1, 'update of the key', '{"id": 102}', 'update_exists', 'apply_remote', $ra, $a, $rb, $b, 'true');
tells(2, 'update of the key', '{"id": 102}', 'insert_exists', 'keep_local', $rb, $b, $ra, $a, 'true');

# rows that one node never had: whether anything was seen is not known
$mesh->all_sql('CREATE TABLE u (id int PRIMARY KEY, v text)');
$mesh->sql(1, "SELECT replication_plugin.exclude_table('u')");
$mesh->wait_converged;
$mesh->sql(1, "INSERT INTO u VALUES (1, 'there'), (2, 'there')");
$mesh->wait_converged;
$mesh->sql(1, "SELECT replication_plugin.include_table('u')");
$mesh->wait_converged;
$a = commit_of(1, q{UPDATE u SET v = 'A' WHERE id = 1});
$mesh->wait_converged;
tells(2, 'update of nothing of public.u', '{"id": 1}', 'update_missing', 'apply_remote', 'no row', 'unknown', '{"v": "A", "id": 1}', $a, 'unknown');
$a = commit_of(1, q{DELETE FROM u WHERE id = 2});
$mesh->wait_converged;
tells(2, 'delete of nothing of public.u', '{"id": 2}', 'delete_missing', 'keep_local', 'no row', 'unknown', 'no row', $a, 'unknown');

# what was seen is no conflict, and of a row that is parked it is told whether it was
$mesh->sql(1, q{UPDATE t SET v = 'one' WHERE id = 6});
$mesh->wait_converged;
$mesh->sql(2, q{UPDATE t SET v = 'two' WHERE id = 6});
$mesh->wait_converged;
is($mesh->sql($_, "SELECT count(*) FROM replication_plugin.conflicts"), 0, "node $_: no conflict where the writer had seen") for 1, 2;

sub parks
{
	my ($name, $key, @parts) = @_;
	$mesh->poll(2, "SELECT count(*) FROM replication_plugin.conflicts WHERE table_name = 'public.s'", 1) or die;
	tells(2, "$name of public.s", $key, @parts);
}
$mesh->all_sql('CREATE TABLE s (id int PRIMARY KEY, name text)');
$mesh->sql(2, 'ALTER TABLE s ADD UNIQUE (name)');
$b = commit_of(2, q{INSERT INTO s VALUES (1, 'ann')});
$mesh->wait_converged;
$a = commit_of(1, q{INSERT INTO s VALUES (2, 'ann')});
parks('parked by what had seen it', '{"id": 1}', 'insert_exists', 'parked', '{"id": 1, "name": "ann"}', $b, '{"id": 2, "name": "ann"}', $a, 'false');
$mesh->sql(2, 'ALTER TABLE s DROP CONSTRAINT s_name_key');
$mesh->wait_converged;
$mesh->sql(1, 'DELETE FROM s');
$mesh->wait_converged;
$mesh->sql(2, 'ALTER TABLE s ADD UNIQUE (name)');
hold();
$a = commit_of(1, q{INSERT INTO s VALUES (3, 'bob')});
$b = commit_of(2, q{INSERT INTO s VALUES (4, 'bob')});
$mesh->resume(2, 1);
parks('parked by a concurrent write', '{"id": 3}', 'insert_exists', 'parked', '{"id": 4, "name": "bob"}', $b, '{"id": 3, "name": "bob"}', $a, 'true');
$mesh->sql(2, 'ALTER TABLE s DROP CONSTRAINT s_name_key');
let_go();
$mesh->wait_converged;
ok($mesh->poll(2, 'SELECT count(*) FROM s', 2), 'without the constraint the row comes back');

# ---------- wide rows ----------

$mesh->all_sql('CREATE TABLE w (id int PRIMARY KEY, v text, big text, list int[], doc jsonb)');
$mesh->sql(1, "INSERT INTO w SELECT 1, 'first', string_agg(md5(g::text), ''), array_agg(g), jsonb_object_agg(g, md5(g::text)) FROM generate_series(1, 30000) g");
$mesh->sql(1, "INSERT INTO w SELECT 2, repeat('v', 100), repeat('b', 5000), array_agg(g), '[1, 2]' FROM generate_series(1, 1000) g");
$mesh->wait_converged;
clash(q{UPDATE w SET v = 'A'}, q{UPDATE w SET v = 'B'});
my $cut = q{SELECT replace(string_agg(row_key ->> 'id' || ' ' || local_row::text || ' ' || remote_row::text, E'\n' ORDER BY row_key), repeat('b', 5000), 'all of it')
	FROM replication_plugin.conflicts WHERE table_name = 'public.w'};
my $wide = '"big": "[cut: 960000 bytes]", "doc": "[cut: \d+ bytes]", "list": "[cut: 120020 bytes]"';
my $less = '"big": "all of it", "doc": \[1, 2\]';
my $list = '"list": "[cut: 4020 bytes]"';
s/\[cut/\\[cut/g, s/bytes\]/bytes\\]/g for $wide, $list;
like($mesh->sql(1, $cut), qr/^1 \{"v": "A", "id": 1, $wide\} \{"v": "B", "id": 1, $wide\}\n2 \{"v": "A", "id": 2, $less, $list\} \{"v": "B", "id": 2, $less, $list\}$/,
	'large columns are cut');
like($mesh->sql(2, $cut), qr/^1 \{"v": "B", "id": 1, $wide\} \{"v": "A", "id": 1\}\n2 \{"v": "B", "id": 2, $less, $list\} \{"v": "A", "id": 2, $less\}$/,
	'what a loser did not send is left out');

# ---------- who sees what, and with whose rights rows are read ----------

$mesh->all_sql(<<'SQL');
CREATE ROLE alice;
CREATE ROLE bob;
CREATE SCHEMA hers AUTHORIZATION alice;
SET ROLE alice;
CREATE TYPE hers.mood AS ENUM ('calm', 'angry');
CREATE FUNCTION hers.told(hers.mood) RETURNS json LANGUAGE sql AS $$ SELECT to_json(current_user || ' ' || $1::text) $$;
CREATE CAST (hers.mood AS json) WITH FUNCTION hers.told(hers.mood);
CREATE TABLE hers.m (id int PRIMARY KEY, m hers.mood);
RESET ROLE;
GRANT SELECT ON t TO bob;
SQL
$mesh->sql(1, "INSERT INTO hers.m VALUES (1, 'calm')");
$mesh->wait_converged;
clash(q{UPDATE hers.m SET m = 'angry'; UPDATE t SET v = 'A' WHERE id = 7}, q{UPDATE hers.m SET m = 'calm'; UPDATE t SET v = 'B' WHERE id = 7});
is($mesh->sql(1, "SELECT local_row || remote_row FROM replication_plugin.conflicts WHERE table_name = 'hers.m'"),
	'{"m": "alice calm", "id": 1}', 'casts of users run as the owner of the table');
my $seen = q{SELECT string_agg(DISTINCT table_name || ' ' || concurrent || ' ' || policy || ' ' || local_origin, ', ') FROM replication_plugin.conflicts};
is($mesh->sql(1, "SET ROLE alice; $seen"), 'hers.m true last_write_wins node1', 'alice sees the conflicts of her table');
is($mesh->sql(1, "SET ROLE bob; $seen"), 'public.t true last_write_wins node1', 'bob sees those of what he may read');
$mesh->sql(1, 'REVOKE SELECT ON t FROM bob');
is($mesh->sql(1, "SET ROLE bob; $seen"), '', 'and no others');

# ---------- storms ----------

# Counters of the table on node 2: count, not logged; and rows that are logged.
sub figures
{
	return split / /, $mesh->sql(2, q{SELECT coalesce(sum(count), 0) || ' ' || coalesce(sum(not_logged), 0) || ' ' ||
		(SELECT count(*) FROM replication_plugin.conflicts WHERE table_name = 'public.storm')
		FROM replication_plugin.conflict_stats WHERE table_name = 'public.storm'});
}

sub clear { $mesh->sql(2, "DELETE FROM replication_plugin.conflict_log; DELETE FROM replication_plugin.conflict_count"); }

sub set_rate
{
	$mesh->sql(2, "ALTER SYSTEM SET replication_plugin.conflict_log_rate = $_[0]");
	$mesh->sql(2, 'SELECT pg_reload_conf()');
}

my $loser = 'UPDATE storm SET n = n + 1';
my $winner = 'UPDATE storm SET n = n + 10';
clear();
for my $rate (10, 0, -1)
{
	hold();
	set_rate($rate);
	clear();
	my $start = time;
	$mesh->sql(1, $loser);
	$mesh->sql(2, $winner);
	let_go();
	$mesh->wait_converged;
	my ($count, $not_logged, $rows) = figures();
	my $most = $rate < 0 ? 1000 : $rate * (time - $start + 2);
	is($count, 1000, "rate $rate: all are counted");
	is($not_logged, 1000 - $rows, "rate $rate: so are those without a row");
	cmp_ok($rows, '<=', $most, "rate $rate: few rows");
	cmp_ok($rows, '>=', abs($rate) == 1 ? 1000 : $rate, "rate $rate: not too few");
}

# a transaction that is applied again, since a row that it inserts is there: what it logs is not paid twice
hold();
set_rate(100);
clear();
$mesh->sql(1, "BEGIN; $loser WHERE id <= 100; INSERT INTO storm VALUES (2000); COMMIT");
$mesh->sql(2, "BEGIN; $winner WHERE id <= 100; INSERT INTO storm VALUES (2000); COMMIT");
let_go();
$mesh->wait_converged;
my ($count, $not_logged, $rows) = figures();
is($count, 101, 'applied again: counted once');
cmp_ok($rows, '>=', 100, 'applied again: the first try has used nothing up');
is($not_logged, 101 - $rows, 'applied again: the rest is counted');

# a worker that dies while it applies
for my $how ('terminated', 'killed')
{
	hold();
	set_rate(-1);
	clear();
	$mesh->sql(1, "$loser WHERE id <= 1000");
	$mesh->sql(2, "$winner WHERE id <= 1000");
	my $s = $mesh->node(2)->background_psql('app', on_error_die => 0);
	my $holder = $s->query_safe('SELECT pg_backend_pid()');
	$s->query_safe('BEGIN; UPDATE storm SET n = n WHERE id = 1001; INSERT INTO storm VALUES (1001)');
	# the last of its rows waits for us
	$mesh->sql(1, "BEGIN; $loser WHERE id <= 900; INSERT INTO storm VALUES (1001); COMMIT");
	$mesh->resume(2, 1);
	ok($mesh->poll(2, "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'replication_plugin link%' AND $holder = ANY (pg_blocking_pids(pid))", 1),
		"$how: in the middle of a transaction");
	$how eq 'killed' ? $mesh->kill_one(2, 'link')
		: $mesh->sql(2, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type LIKE 'replication_plugin link%'");
	eval { $s->query('ROLLBACK') };
	eval { $s->quit };
	$mesh->poll(2, 'SELECT true');
	let_go();
	$mesh->wait_converged;
	($count, $not_logged, $rows) = figures();
	is("$count $not_logged $rows", '1900 0 1900', "$how: counted and logged once");
	$mesh->sql(1, 'DELETE FROM storm WHERE id > 1000');
	$mesh->wait_converged;
}

# many small transactions: the counters are updated in place
sub small_transactions
{
	hold();
	set_rate(0);
	clear();
	$mesh->sql(2, 'VACUUM FULL replication_plugin.conflict_count');
	$mesh->sql(1, "DO \$\$ BEGIN FOR i IN 1..1000 LOOP $loser WHERE id = i; COMMIT; END LOOP; END \$\$");
	$mesh->sql(2, $winner);
	let_go();
	$mesh->wait_converged;
	is(join(' ', figures()), '1000 1000 0', '1,000 transactions with one conflict each');
	return split /\|/, $mesh->sql(2, "SELECT pg_relation_size('replication_plugin.conflict_count') / 8192, pg_relation_size('replication_plugin.conflict_count_pkey') / 8192");
}
# (again where somebody's snapshot, of a process that did not get the processor meanwhile, has kept the versions before)
my ($pages, $index_pages);
for (1 .. 3)
{
	($pages, $index_pages) = small_transactions();
	last if $pages <= 4 && $index_pages <= 4;
}
cmp_ok($pages, '<=', 4, 'the counters do not bloat');
cmp_ok($index_pages, '<=', 4, 'nor does their index');

# a worker remembers where its counters are: they move, pile up under an old snapshot, go away
$mesh->pause(1, 2);
clear();
my $worker = $mesh->sql(2, 'SELECT pid FROM replication_plugin.link_states()');
my $expected = 0;
sub strike
{
	my ($name) = @_;
	$mesh->sql(2, $winner);
	$mesh->sql(1, "DO \$\$ BEGIN FOR i IN 1..100 LOOP $loser WHERE id = i; COMMIT; END LOOP; END \$\$");
	$expected += 100;
	ok($mesh->poll(2, "SELECT sum(count) FROM replication_plugin.conflict_stats WHERE table_name = 'public.storm'", $expected), "$name: the counts are exact");
}
strike('new');
$mesh->sql(2, 'VACUUM FULL replication_plugin.conflict_count');
strike('moved');
my $old = $mesh->node(2)->background_psql('app');
$old->query_safe('BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT 1');
strike('under an old snapshot');
$old->quit;
clear();
$mesh->sql(2, 'VACUUM replication_plugin.conflict_count');
$expected = 0;
strike('gone, and truncated');
is($mesh->sql(2, 'SELECT pid FROM replication_plugin.link_states()'), $worker, 'all by one worker');
$mesh->resume(1, 2);
$mesh->wait_converged;
$mesh->is_identical('after all storms');

done_testing();
