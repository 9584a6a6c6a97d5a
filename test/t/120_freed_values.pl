# Values outlive the slots, contexts and cache entries that they were read from: large values through every way that a row of a
# mergeable table takes, rows whose local row goes away while it is being replaced, and no leak warning in any log.
# (On a server built with assertions freed memory is overwritten, so what is used too late shows.)
use strict;
use warnings;
use Mesh;
use PostgreSQL::Test::Utils;
use Test::More;

my $mesh = Mesh->new(3);
$mesh->make_group(<<'SQL');
CREATE TABLE h (id int PRIMARY KEY, body text, note text);
CREATE FUNCTION join_h(older h, newer h) RETURNS h LANGUAGE plpgsql AS $$
BEGIN newer.body := greatest(older.body, newer.body); newer.note := least(older.note, newer.note); RETURN newer; END $$;
CREATE TABLE s (id int PRIMARY KEY, body text, note text);
CREATE TABLE c (id int PRIMARY KEY, n int NOT NULL DEFAULT 0, tags text[] DEFAULT '{}', body text, CHECK (n < 1000000), CHECK (length(body) > 2));
CREATE TABLE u (id int PRIMARY KEY, name text UNIQUE, body text, note text);
CREATE FUNCTION join_u(older u, newer u) RETURNS u LANGUAGE plpgsql AS $$
BEGIN newer.body := greatest(older.body, newer.body); newer.note := least(older.note, newer.note); RETURN newer; END $$;
CREATE TABLE t (id int PRIMARY KEY, v text);
CREATE TABLE gate (id int PRIMARY KEY);
CREATE TABLE p (id int, kind int, v text, w text, PRIMARY KEY (id, kind)) PARTITION BY LIST (kind);
CREATE TABLE p1 (w text, gone int, v text, kind int NOT NULL, id int NOT NULL);
ALTER TABLE p1 DROP COLUMN gone;
ALTER TABLE p ATTACH PARTITION p1 FOR VALUES IN (1);
CREATE TABLE p2 PARTITION OF p FOR VALUES IN (2) PARTITION BY LIST (id);
CREATE TABLE p2x (kind int NOT NULL, id int NOT NULL, w text, v text);
ALTER TABLE p2 ATTACH PARTITION p2x DEFAULT;
SQL
my @nodes = 1 .. 3;
$mesh->sql(1, q{SELECT replication_plugin.set_conflict_policy('h', 'handler', 'join_h(h,h)');
	SELECT replication_plugin.set_conflict_policy('s', 'siblings');
	SELECT replication_plugin.set_column_merge('c', 'n', 'counter'); SELECT replication_plugin.set_column_merge('c', 'tags', 'set');
	SELECT replication_plugin.set_conflict_policy('u', 'handler', 'join_u(u,u)')});
$mesh->wait_converged;
my %started = map { $_ => $mesh->sql($_, 'SELECT pg_postmaster_start_time()') } @nodes;

# A text of so many bytes, which does not compress.
sub big
{
	my ($word, $bytes) = @_;
	return "(SELECT left('$word' || string_agg(md5('$word' || g), ''), $bytes) FROM generate_series(1, 1 + $bytes / 32) g)";
}

# Logs of all servers.
sub logs { return join '', map { slurp_file($mesh->node($_)->logfile) } @nodes; }

sub holds
{
	my ($query, $expected, $name) = @_;
	is(join('|', map { $mesh->sql($_, $query) } @nodes), join('|', ($expected) x @nodes), $name);
}

my @sizes = (10, 10_000, 1_000_000);
# Statements for all sizes, written by a function of the size.
sub each_size { my ($sql) = @_; return join '; ', map { $sql->($_) } @sizes; }
for my $table (qw(h s))
{
	$mesh->sql(1, "INSERT INTO $table VALUES ($_, 'first', 'first')") for @sizes;
	$mesh->wait_converged;
	$mesh->concurrently(map { my $i = $_; [ $i, each_size(sub { "UPDATE $table SET body = " . big("word$i", $_[0]) . ", note = " . big("note$i", $_[0]) . " WHERE id = $_[0]" }) ] } @nodes);
	holds("SELECT string_agg(id || left(body, 5) || left(note, 5), ' ' ORDER BY id) FROM $table",
		join(' ', map { $_ . ($table eq 'h' ? 'word3note1' : 'word3note3') } @sizes), "$table: concurrent values of 10 bytes to 1 MB");
}

subtest 'merged columns beside large values, checked as composed' => sub {
	$mesh->sql(1, "INSERT INTO c SELECT $_, 0, '{}', " . big('first', 1000)) for @sizes;
	$mesh->wait_converged;
	$mesh->concurrently(map { my $i = $_; [ $i, each_size(sub { "UPDATE c SET n = n + $i, tags = tags || ARRAY[" . big("tag$i", 2000) . "], body = " . big("word$i", $_[0])
		. " WHERE id = $_[0]" }) ] } @nodes);
	holds("SELECT string_agg(id || ':' || n || ':' || cardinality(tags) || left(body, 5), ' ' ORDER BY id) FROM c",
		join(' ', map { "$_:6:3word3" } @sizes), 'all increments and members, and the newest text');
};

subtest 'rows that are parked, and come back, with values of several siblings' => sub {
	$mesh->sql(1, each_size(sub { "INSERT INTO u VALUES ($_[0], 'a$_[0]', 'first', 'first')" }));
	$mesh->wait_converged;
	# three values of one row, and a newer row of its name
	$mesh->concurrently((map { my $i = $_; [ $i, each_size(sub { "UPDATE u SET " . ($i == 2 ? '' : "name = 'b$_[0]', ") . "body = " . big("word$i", $_[0]) . ", note = "
		. big("note$i", $_[0]) . " WHERE id = $_[0]" }) ] } @nodes), [ 2, each_size(sub { "INSERT INTO u VALUES (-$_[0], 'b$_[0]', 'newer', 'newer')" }) ]);
	holds('SELECT count(*) FROM u WHERE id > 0', 0, 'the rows with siblings are parked');
	$mesh->sql(3, 'DELETE FROM u WHERE id < 0');
	for my $i (@nodes)
	{
		$mesh->poll($i, 'SELECT count(*) = ' . @sizes . ' FROM u WHERE id > 0') or diag $mesh->sql($i, 'SELECT "table", row_key, last_error FROM replication_plugin.parked_rows');
	}
	holds("SELECT string_agg(id || left(body, 5) || left(note, 5), ' ' ORDER BY id) FROM u", join(' ', map { "${_}word3note1" } @sizes),
		'they come back as their handler makes them');
};

subtest 'a local row that goes while it is being replaced' => sub {
	$mesh->sql(1, "INSERT INTO t VALUES (1, 'first')");
	$mesh->wait_converged;
	# node 2 has a column more, and stops in the middle of the transaction that deletes the row
	$mesh->sql(2, 'ALTER TABLE t ADD COLUMN extra text');
	$mesh->sql(2, q{CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_advisory_xact_lock(1); RETURN NULL; END $$;
		CREATE TRIGGER hold AFTER INSERT ON gate FOR EACH ROW EXECUTE FUNCTION hold(); ALTER TABLE gate ENABLE ALWAYS TRIGGER hold});
	# known to this node alone: written as its repairs are
	$mesh->sql(2, qq{SET session_replication_role = replica; SELECT pg_replication_origin_session_setup(r.roname) FROM pg_replication_origin r WHERE roname LIKE '%repair';
		UPDATE t SET extra = } . big('extra', 1000) . ' WHERE id = 1');
	my $blocker = $mesh->node(2)->background_psql('app');
	$blocker->query('SELECT pg_advisory_lock(1)');
	$mesh->pause(1, 3);
	$mesh->sql(3, 'BEGIN; DELETE FROM t WHERE id = 1; INSERT INTO gate VALUES (1); COMMIT');
	$mesh->poll(2, "SELECT count(*) = 1 FROM pg_locks WHERE locktype = 'advisory' AND NOT granted") or die 'nobody waits';
	$mesh->sql(1, "UPDATE t SET v = 'later' WHERE id = 1");
	$mesh->poll(2, "SELECT count(*) = 1 FROM pg_stat_activity a WHERE backend_type = 'replication_plugin link from node 1'
		AND EXISTS (SELECT FROM pg_locks l WHERE l.pid = ANY (pg_blocking_pids(a.pid)) AND l.locktype = 'advisory' AND NOT l.granted)") or die 'no link waits for the other one';
	$blocker->query('SELECT pg_advisory_unlock(1)');
	$blocker->quit;
	$mesh->resume(1, 3);
	$mesh->wait_converged;
	is($mesh->sql(2, "SELECT v || ' ' || coalesce(left(extra, 5), 'nothing') FROM t"), 'later nothing', 'the new row has nothing of the one that is gone');
	$mesh->sql(2, 'ALTER TABLE t DROP COLUMN extra; DROP TRIGGER hold ON gate');
};

subtest 'partitions whose columns have another order' => sub {
	for my $i (@nodes)
	{
		$mesh->sql($i, "INSERT INTO p SELECT g * 10 + $i, 1 + g % 2, md5(g::text), repeat('w', 3000) FROM generate_series(1, 30) g");
		$mesh->sql($i, "UPDATE p SET v = 'next' WHERE id % 10 = $i AND id < 100");
		$mesh->sql($i, "UPDATE p SET kind = 3 - kind WHERE id % 10 = $i AND id > 200");
		$mesh->sql($i, "DELETE FROM p WHERE id % 10 = $i AND id BETWEEN 100 AND 150");
	}
	$mesh->concurrently(map { [ $_, "UPDATE p SET v = 'node$_' WHERE id < 120" ] } @nodes);
	is($mesh->sql(1, 'SELECT count(*) FROM p'), 75, 'rows came and went');
};

$mesh->wait_converged;
$mesh->is_identical('at the end');
is($mesh->sql($_, 'SELECT pg_postmaster_start_time()'), $started{$_}, "node $_ has run on") for @nodes;
my $logs = logs();
is(scalar(() = $logs =~ /was terminated by signal|^TRAP/mg), 0, 'no process has crashed');
is(scalar(() = $logs =~ /(?:reference|refcount) leak|resource was not closed/g), 0, 'no leak in any log');
done_testing();
