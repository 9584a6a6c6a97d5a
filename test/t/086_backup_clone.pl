# Servers that are not what the group thinks: restored from an old backup, cloned, away for longer than WAL is kept.
# Each is refused, says so, and is healed by rejoin(). A physical copy of a member becomes a node of its own.
use strict;
use warnings;
use File::Path qw(rmtree);
use Mesh;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::RecursiveCopy;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(sleep);

my $seed = Mesh::seed();
my $mesh = Mesh->new(3, proxy => 1, conf => "replication_plugin.frontier_interval = 100ms\n");
$mesh->make_group(<<'SQL');
CREATE TABLE t (id int PRIMARY KEY, v text);
INSERT INTO t SELECT g, 'first' FROM generate_series(1, 500) g;
CREATE TABLE log (id uuid DEFAULT gen_random_uuid(), side int); -- no key
CREATE TABLE tick (id int PRIMARY KEY, n int);
CREATE TABLE ballast (id int, v text);
SELECT replication_plugin.exclude_table('ballast');
CREATE UNLOGGED TABLE go (id int); -- of each node alone
SQL
$mesh->wait_converged;
my $script = <<'SQL';
\set id random(101, 500)
\set r random(1, 100)
\if :r <= 40
UPDATE t SET v = 'by ' || :side WHERE id = :id;
\elif :r <= 55
DELETE FROM t WHERE id = :id;
\elif :r <= 70
INSERT INTO t VALUES (:id, 'again ' || :side) ON CONFLICT DO NOTHING;
\else
INSERT INTO log (side) VALUES (:side);
\endif
SQL
my $tick = "INSERT INTO tick VALUES (:side, 0) ON CONFLICT (id) DO UPDATE SET n = tick.n + 1;";

sub state_of
{
	my ($i) = @_;
	return "SELECT state FROM replication_plugin.nodes WHERE node_name = 'node$i' ORDER BY node_id DESC LIMIT 1";
}

# A node's rows of t with these ids.
sub rows
{
	my ($i, $where) = @_;
	return $mesh->sql($i, "SELECT coalesce(string_agg(id || '=' || v, ' ' ORDER BY id), '') FROM t WHERE $where");
}

# Node 3 knows that it must join anew, and why.
sub told
{
	my ($why, $name) = @_;
	ok($mesh->poll(3, "SELECT (SELECT state FROM replication_plugin.nodes WHERE is_local) = 'needs_rejoin'
		AND (EXISTS (SELECT FROM replication_plugin.links WHERE last_error ~ '$why')
		OR EXISTS (SELECT FROM replication_plugin.nodes WHERE is_local AND progress ~ '$why'))"), "$name: it knows that it must join anew, and why");
	$mesh->writes_refused(3, 't', 'needs_rejoin', "$name: it takes no writes");
	ok($mesh->poll(3, "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'replication_plugin link%'", 0), "$name: it takes nothing");
	ok($mesh->poll($_, "SELECT count(*) FROM replication_plugin.links WHERE provider = 'node3' AND state IN ('streaming', 'catching up')", 0),
		"$name: node $_ takes nothing from it") for 1, 2;
}

# Node 3 joins anew, and all is as it should be.
sub comes_back
{
	my ($name) = @_;
	my $number = $mesh->sql(3, 'SELECT node_id FROM replication_plugin.nodes WHERE is_local');
	$mesh->rejoin(3);
	$mesh->wait_for_streaming;
	$mesh->sql($_, "INSERT INTO log (side) VALUES ($_)") for 1 .. 3;
	$mesh->wait_converged;
	$mesh->is_identical("$name: after rejoin()");
	is($mesh->sql(3, "SELECT node_name, node_id > $number FROM replication_plugin.nodes WHERE is_local"), 'node3|t', "$name: same name, new number");
}

# Puts another data directory in a node's place.
sub put_in_place
{
	my ($i, $from) = @_;
	rmtree($mesh->node($i)->data_dir);
	PostgreSQL::Test::RecursiveCopy::copypath($from, $mesh->node($i)->data_dir);
	chmod 0700, $mesh->node($i)->data_dir;
}

# What a snapshot of its disk has of a running server.
sub disk_snapshot
{
	my ($i, $to) = @_;
	my $node = $mesh->node($i);
	my ($postmaster) = slurp_file($node->data_dir . '/postmaster.pid') =~ /^(\d+)/;
	my @all = ($postmaster, split /\n/, $mesh->sql($i, 'SELECT pid FROM pg_stat_activity', 'postgres'));
	kill 'STOP', @all;
	PostgreSQL::Test::RecursiveCopy::copypath($node->data_dir, $to, filterfn => sub { return $_[0] ne 'postmaster.pid' });
	kill 'CONT', @all;
}

# How much WAL is kept for a member, MB.
sub limit
{
	my ($mb, @nodes) = @_;
	for my $i (@nodes)
	{
		$mesh->sql($i, $_) for "ALTER SYSTEM SET replication_plugin.max_retained_wal = $mb", 'SELECT pg_reload_conf()';
		$mesh->poll($i, "SELECT setting FROM pg_settings WHERE name = 'replication_plugin.max_retained_wal'", $mb) or die;
	}
}

# ---------- what is no old backup ----------
my $three = $mesh->node(3);
my @load = $mesh->start_load($script, 50, 1 .. 3);
for (1, 2)
{
	sleep rand 0.5;
	$mesh->kill_server(3);
	$mesh->start_server(3);
	$mesh->wait_for_streaming;
}
$mesh->stop_load(@load);
$three->stop;
$three->backup_fs_cold('moved');
put_in_place(3, $three->backup_dir . '/moved');
$mesh->start_server(3);
$mesh->wait_for_streaming;
$mesh->sql(3, "INSERT INTO t VALUES (601, 'after the move')");
$mesh->wait_converged;
is($mesh->sql(3, state_of(3)), 'ready', 'after crashes and a move of its directory a node goes on');
$mesh->is_identical('after crashes and a move');

# ---------- an old backup is restored ----------
for my $kind ('cold', 'base', 'snapshot')
{
	my $name = "$kind backup";
	if ($kind eq 'cold')
	{
		$three->stop;
		$three->backup_fs_cold($kind);
		$mesh->start_server(3);
		$mesh->wait_for_streaming;
	}
	elsif ($kind eq 'base')
	{
		$three->backup($kind);
	}
	else
	{
		disk_snapshot(3, $three->backup_dir . "/$kind");
		$mesh->sql(3, 'INSERT INTO ballast SELECT g, repeat(md5(g::text), 20) FROM generate_series(1, 2000) g'); # WAL
	}
	$mesh->sql(3, "INSERT INTO t SELECT g, 'after the $kind backup' FROM generate_series(1001, 1050) g ON CONFLICT (id) DO UPDATE SET v = excluded.v;"
			. "DELETE FROM t WHERE id = 10; UPDATE t SET v = 'after the $kind backup' WHERE id = 11");
	$mesh->sql(1, "DELETE FROM t WHERE id = 12; UPDATE t SET v = 'after the $kind backup' WHERE id = 13; INSERT INTO log (side) VALUES (1)");
	$mesh->wait_converged;
	$kind eq 'cold' ? $three->stop : $mesh->kill_server(3);
	put_in_place(3, $three->backup_dir . "/$kind");
	if ($kind eq 'snapshot')
	{
		# nobody can tell it at first: it is written to, and its WAL gets longer than what the others have of it
		$mesh->pause($_, 3) for 1, 2;
		$mesh->cut(1, 2);
	}
	$mesh->start_server(3);
	if ($kind eq 'snapshot')
	{
		$mesh->poll(3, "SELECT bool_and(last_error IS NOT NULL) FROM replication_plugin.links") or do { $mesh->dump_state; die; };
		# What the others have of it must come after the first frontier row of its new run: before that, nobody can tell it from a restart.
		$mesh->poll(3, 'SELECT run_row IS NOT NULL AND run_token = replication_plugin.instance_token() FROM replication_plugin.local_node') or die;
		my ($number, $row) = split /\|/, $mesh->sql(3, 'SELECT node_id, run_row FROM replication_plugin.local_node');
		my $have = $mesh->sql(1, "SELECT replication_plugin.origin_progress($number)");
		is($mesh->sql(1, "SELECT '$row'::pg_lsn < '$have'::pg_lsn"), 't', "$name: its new run begins before what the others have ($row, $have)");
		# writes wait for an answer, unless they shall not
		my (undef, undef, $err) = $mesh->try_sql(3, "SET statement_timeout = '1s'; INSERT INTO t VALUES (9999, 'too early')");
		like($err, qr/statement timeout/, "$name: writes wait as long as nobody has told");
		$mesh->sql(3, $_) for 'ALTER SYSTEM SET replication_plugin.contact_patience = 0', 'SELECT pg_reload_conf()';
		$mesh->sql(3, "INSERT INTO t SELECT g, 'false' FROM generate_series(2001, 3000) g; UPDATE t SET v = 'false' WHERE id IN (11, 13, 20); DELETE FROM t WHERE id = 21");
		$mesh->sql(3, 'INSERT INTO ballast SELECT g, repeat(md5(g::text), 20) FROM generate_series(1, 5000) g');
		$mesh->heal(1, 2);
		$mesh->resume($_, 3) for 1, 2;
	}
	else
	{
		# who writes at once waits until it is known, and is refused
		my (undef, undef, $err) = $mesh->try_sql(3, "INSERT INTO t VALUES (9999, 'never')");
		like($err, qr/not ready for writes: needs_rejoin/, "$name: it takes no write before it is recognised");
	}
	# a base backup has no slots: the node sees by itself that it cannot go on
	told($kind eq 'base' ? '(was restored from an old backup|group slot of this node is gone)' : 'was restored from an old backup', $name);
	ok($mesh->poll($_, "SELECT last_error ~ '(node3.* was restored from an old backup|node3.* is out of its group)' FROM replication_plugin.links WHERE provider = 'node3'"),
		"$name: node $_ refuses it") for 1, 2;
	$mesh->sql(1, "INSERT INTO t VALUES (602, 'while it is out') ON CONFLICT (id) DO UPDATE SET v = t.v || '.'");
	$mesh->sql(2, "INSERT INTO t VALUES (603, 'while it is out') ON CONFLICT (id) DO UPDATE SET v = t.v || '.'");
	$mesh->poll(2, 'SELECT count(*) FROM t WHERE id = 602', 1) or die;
	is(rows(1, "v = 'false'"), '', "$name: what was written there reaches nobody");
	comes_back($name);
	is(rows(3, 'id IN (10, 11, 12, 13, 20, 21, 1050) OR id BETWEEN 2001 AND 3000'),
		"11=after the $kind backup 13=after the $kind backup 20=first 21=first 1050=after the $kind backup", "$name: it has what it had forgotten, and nothing else");
}

# ---------- a clone ----------
my $two = $mesh->node(2);
$two->stop;
$two->backup_fs_cold('clone');
$mesh->start_server(2);
$mesh->wait_for_streaming;
my $clone = PostgreSQL::Test::Cluster->new('clone');
$clone->init_from_backup($two, 'clone');
$clone->start;
# The error of a write there.
sub written_on_clone
{
	my (undef, undef, $err) = $clone->psql('app', "INSERT INTO t VALUES (700, 'clone')");
	return $err;
}
my $idle = "SELECT count(*) FROM pg_stat_activity WHERE backend_type ~ '^replication_plugin (link|group|join)' OR backend_type = 'walsender'";
ok($clone->poll_query_until('app', "SELECT progress ~ 'this server is a copy' FROM replication_plugin.nodes WHERE is_local"), 'clone: it notices that it is one');
like(written_on_clone(), qr/node "node2" is not ready for writes: this server is a copy.*forget_group/s, 'clone: it takes no writes');
$mesh->sql(1, "INSERT INTO t VALUES (701, 'original')");
$mesh->wait_converged;
is($clone->safe_psql('app', $idle), 0, 'clone: nothing runs there');
is($clone->safe_psql('app', 'SELECT count(*) FROM t WHERE id IN (700, 701)'), 0, 'clone: it takes nothing');
# the original is away: that does not make the clone the node
$two->stop;
$clone->restart;
ok($clone->poll_query_until('app', "SELECT progress ~ 'could not connect' FROM replication_plugin.nodes WHERE is_local"), 'clone: without the original it does not know, and waits');
is($clone->safe_psql('app', $idle), 0, 'clone: nothing runs there');
$mesh->start_server(2);
ok($clone->poll_query_until('app', "SELECT progress ~ 'this server is a copy' FROM replication_plugin.nodes WHERE is_local"), 'clone: then it knows again');
like(written_on_clone(), qr/this server is a copy/, 'clone: and takes no writes');
$clone->safe_psql('app', "SELECT replication_plugin.forget_group(); INSERT INTO t VALUES (700, 'clone')");
$clone->stop('immediate');
$mesh->wait_for_streaming;
$mesh->wait_converged;
is(rows(1, 'id = 700'), '', 'clone: it gives nothing');
$mesh->is_identical('clone: the original is not disturbed');

# ---------- a member that is away for longer than WAL is kept ----------
limit(40, 1 .. 3);
my ($busy, $group) = ("INSERT INTO ballast SELECT g, repeat(md5(g::text), 20) FROM generate_series(1, 14000) g", "FROM replication_plugin.slots WHERE subscriber IS NULL");
$three->stop;
$mesh->sql(1, "DELETE FROM t WHERE id BETWEEN 30 AND 39; UPDATE t SET v = 'without it' WHERE id BETWEEN 40 AND 49; INSERT INTO t VALUES (801, 'new')");
$mesh->sql(2, "DELETE FROM t WHERE id BETWEEN 50 AND 59; UPDATE t SET id = id + 3000 WHERE id BETWEEN 60 AND 69");
@load = $mesh->start_load($tick, 10, 1, 2);
my $out = 0;
for (1 .. 10)
{
	# some 11 MB each; a checkpoint lets slots of members that keep up move
	for my $i (1, 2)
	{
		$mesh->sql($i, $busy);
		my $end = $mesh->sql($i, 'SELECT pg_current_wal_lsn()');
		$mesh->sql($i, 'CHECKPOINT');
		$mesh->poll($i, "SELECT confirmed_lsn >= '$end' FROM replication_plugin.slots WHERE subscriber = 'node" . (3 - $i) . "'") or die;
	}
	$out = $mesh->sql(1, state_of(3)) eq 'needs_rejoin';
	last if $out;
}
ok($mesh->poll($_, state_of(3), 'needs_rejoin'), "limit: node $_ shows that it must join anew") for 1, 2;
is($mesh->sql($_, "SELECT string_agg(state, ' ') FROM replication_plugin.nodes WHERE node_name IN ('node1', 'node2')"), 'ready ready', "limit: the others are well on node $_") for 1, 2;
for my $i (1, 2)
{
	ok($mesh->poll($i, "SELECT count(*) FROM replication_plugin.slots WHERE subscriber = 'node3'", 0), "limit: node $i keeps nothing for it");
	is($mesh->sql($i, "SELECT count(*) FROM pg_replication_slots WHERE wal_status = 'lost'"), 0, "limit: no slot of node $i is lost");
	my $end = $mesh->sql($i, 'SELECT pg_current_wal_lsn()');
	ok($mesh->poll($i, "SELECT confirmed_lsn >= '$end' $group"), "limit: node ${i}'s group slot moves on");
	$mesh->sql($i, 'CHECKPOINT');
	$end = $mesh->sql($i, 'SELECT pg_current_wal_lsn()');
	ok($mesh->poll($i, "SELECT confirmed_lsn >= '$end' AND retained_bytes < 20000000 $group"), "limit: and lets WAL of node $i go");
}
$mesh->stop_load(@load);
$mesh->start_server(3);
told('(has been removed|away for longer)', 'limit');
is($mesh->sql(3, 'SELECT count(*) FROM t WHERE id BETWEEN 30 AND 39'), 10, 'limit: it still has what was deleted');
comes_back('limit');
is(rows(3, 'id BETWEEN 30 AND 40 OR id BETWEEN 50 AND 60 OR id IN (801, 3060)'), '40=without it 801=new 3060=first', 'limit: deletes are in force there, too');

# ---------- WAL that is of no use to others is let go as well, in a group that is idle otherwise ----------
$mesh->wait_converged;
$mesh->sql(1, $busy) for 1 .. 6;
my $written = $mesh->sql(1, 'SELECT pg_current_wal_lsn()');
ok($mesh->poll(1, "SELECT confirmed_lsn >= '$written'::pg_lsn - 32 * 1048576 $group"), 'the group slot moves over what is not replicated');

# ---------- a physical copy becomes a node ----------
# what is kept for it begins far behind, and on a slow machine it does not get near before somebody looks
limit(-1, 1 .. 3);
@load = $mesh->start_load($script, 60, 1 .. 3);
my $copy = PostgreSQL::Test::Cluster->new('physical');
push @{ $mesh->{nodes} }, $copy;
$mesh->start_proxy(4);
my $dsn = $mesh->dsn(4);
my $last = $mesh->sql(1, 'SELECT max(node_id) FROM replication_plugin.nodes');
my $number = $mesh->sql(1, "SELECT replication_plugin.prepare_base_backup('node4', '$dsn')");
cmp_ok($number, '>', $last, 'physical: a number is promised');
$mesh->node(1)->backup('physical', backup_options => ['-R']);
$copy->init_from_backup($mesh->node(1), 'physical');
$copy->start;
is($mesh->sql(4, 'SELECT pg_is_in_recovery()'), 't', 'physical: it is a standby');
sleep rand 1;
is($mesh->sql(4, 'SELECT pg_promote()'), 't', 'physical: it is promoted');
ok($mesh->poll(4, "SELECT progress ~ 'this server is a copy' FROM replication_plugin.nodes WHERE is_local"), 'physical: it knows that it is a copy');
is($mesh->sql(4, $idle), 0, 'physical: nothing runs there');
like(($mesh->try_sql(4, "INSERT INTO t VALUES (-1, 'x')"))[2], qr/node "node1" is not ready for writes: this server is a copy/,
	'physical: what would be a row that only it has is refused');
my ($status, undef, $err) = $mesh->try_sql(4, sprintf("SELECT replication_plugin.join_group('node4', '$dsn', '%s', copy_schema => false, copy_data => false)", $mesh->dsn(2)));
ok($status != 0 && $err =~ /copy of node "node1"/, 'physical: another source is refused') or diag($err);
$mesh->sql(4, sprintf("SELECT replication_plugin.join_group('node4', '$dsn', '%s', copy_schema => false, copy_data => false)", $mesh->dsn(1)));
is($mesh->sql(4, "SELECT replication_plugin.wait_until_ready('240 seconds')"), 't', 'physical: it gets ready');
sleep rand 0.5;
$mesh->stop_load(@load);
$mesh->wait_for_streaming;
$mesh->wait_converged;
$mesh->is_identical('physical: under load');
is($mesh->sql(4, 'SELECT count(*) - count(DISTINCT id) FROM log'), 0, 'physical: nothing came twice');
is($mesh->sql(4, 'SELECT node_name, node_id FROM replication_plugin.nodes WHERE is_local'), "node4|$number", 'physical: it is a node of its own');
is($mesh->sql(1, "SELECT count(*) FROM replication_plugin.slots WHERE subscriber = 'node4'"), 1, 'physical: with a slot');
ok($mesh->poll($_, 'SELECT count(*) FROM pg_replication_slots', 4), "physical: node $_ has no slot too many") for 1 .. 4;
# it writes, and decides conflicts
$mesh->pause(4, 1);
$mesh->sql(1, "UPDATE t SET v = 'one' WHERE id IN (1, 2); DELETE FROM t WHERE id IN (3, 4)");
$mesh->sql(4, "UPDATE t SET v = 'four' WHERE id IN (1, 3, 5); DELETE FROM t WHERE id = 2; INSERT INTO t VALUES (900, 'four')");
$mesh->sql(1, "UPDATE t SET v = 'last' WHERE id = 5");
$mesh->resume(4, 1);
$mesh->wait_converged;
is(rows(2, 'id <= 5 OR id = 900'), '1=four 3=four 5=last 900=four', 'physical: it writes, and decides conflicts like all');
is($mesh->sql(1, "SELECT roname ~ '_$number\$' FROM t, pg_replication_origin o WHERE id = 900 AND o.roident = (pg_xact_commit_timestamp_origin(t.xmin)).roident"), 't',
	'physical: under its own number');
$mesh->is_identical('physical: afterwards');

# ---------- a long transaction is no reason to send members away that are up to date ----------
limit(40, 1 .. 4);
my $open = $mesh->spawn_sql(1, "DO \$\$ BEGIN INSERT INTO log (side) VALUES (99); LOOP EXIT WHEN EXISTS (SELECT FROM go); PERFORM pg_sleep(0.02); END LOOP; END \$\$");
$mesh->poll(1, "SELECT count(*) FROM pg_stat_activity WHERE query ~ 'VALUES .99' AND backend_xid IS NOT NULL AND pid <> pg_backend_pid()", 1) or die;
$three->stop;
for (1 .. 9)
{
	$mesh->sql(1, $busy);
	my $end = $mesh->sql(1, 'SELECT pg_current_wal_lsn()');
	$mesh->sql(1, 'CHECKPOINT');
	# who is up to date says so every 16 MB
	$mesh->poll(1, "SELECT bool_and(replication_plugin.frontier_lsn(f.vector, l.node_id) >= '$end'::pg_lsn - 32 * 1048576::numeric)
		FROM replication_plugin.frontier f JOIN replication_plugin.node n USING (node_id), replication_plugin.local_node l
		WHERE n.node_name IN ('node2', 'node4') AND n.state = 'ready'") or die;
}
ok($mesh->poll(1, state_of(3), 'needs_rejoin'), 'open transaction: one that is away is out');
is($mesh->sql(1, "SELECT string_agg(node_name || ' ' || state, ', ' ORDER BY node_name) FROM replication_plugin.nodes WHERE node_name IN ('node2', 'node4') AND state <> 'removed'"),
	'node2 ready, node4 ready', 'open transaction: those that are up to date are not');
$mesh->sql(1, 'INSERT INTO go VALUES (1)');
waitpid $open, 0;
is($?, 0, 'open transaction: it commits');
$mesh->wait_converged(1, 2, 4);
$mesh->is_identical('open transaction: afterwards', 1, 2, 4);
$mesh->start_server(3);
told('(has been removed|away for longer)', 'open transaction');
comes_back('open transaction');
done_testing();
