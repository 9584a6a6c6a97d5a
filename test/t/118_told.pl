# What new users stumble over: notes on tables, joins that wait or fail, WAL that is kept, copies of a member's database.
use strict;
use warnings;
use Mesh;
use Test::More;
use Time::HiRes qw(sleep time);

my $mesh = Mesh->new(2, conf => "max_prepared_transactions = 5\ncheckpoint_timeout = 1h\nmax_wal_size = 4GB\n");
$mesh->make_group(<<'SQL');
CREATE TABLE t (id int PRIMARY KEY, v text);
CREATE TABLE gk (a int, b int GENERATED ALWAYS AS (a * 10) STORED, UNIQUE (a));
CREATE TABLE no_equality (k int, j json, p point, c varchar(5));
ALTER TABLE no_equality REPLICA IDENTITY FULL;
CREATE TABLE escaped (id int PRIMARY KEY);
SQL

# ---------- notes on tables ----------

my $note = sub { $mesh->sql($_[0], "SELECT coalesce(note, '') FROM replication_plugin.tables WHERE \"table\" = '$_[1]'::regclass") };
is($note->(1, 't'), '', 'nothing to be said of an ordinary table');
like($note->(1, 'no_equality'), qr/no equality for the type of j \(json\), p \(point\):/, 'types without equality');
$mesh->sql(1, "SET allow_system_table_mods = on; SET session_replication_role = replica; DELETE FROM pg_trigger WHERE tgrelid = 'escaped'::regclass");
my $escaped = $note->(1, 'escaped');
ok($escaped eq '' && $mesh->sql(1, "SELECT count(*) > 0 FROM pg_trigger WHERE tgrelid = 'escaped'::regclass") eq 't' || $escaped =~ /capture is not in force/,
	'capture that is not in force') or diag($escaped);

# ---------- WAL of a burst ----------

$mesh->sql(1, "INSERT INTO t SELECT g, repeat(md5(g::text), 30) FROM generate_series(1, 100000) g");
$mesh->wait_converged;
my $t0 = time();
ok($mesh->poll($_, 'SELECT max(retained_bytes) < 40000000 FROM replication_plugin.slots', 't', 180), "node $_: an idle group does not keep the WAL of a burst")
	or diag($mesh->sql($_, 'SELECT slot_name, restart_lsn, confirmed_flush_lsn, pg_current_wal_lsn() FROM pg_replication_slots')) for 1, 2;
note(sprintf 'figures: %.1f s', time() - $t0);

# ---------- a join that waits ----------

$mesh->add_server;
my $holder = $mesh->start_sql(1, "SET application_name = 'month end'; BEGIN; CREATE TABLE held (id int PRIMARY KEY); SELECT pg_sleep(120); COMMIT");
$mesh->sql(1, "BEGIN; CREATE TABLE held2 (id int PRIMARY KEY); PREPARE TRANSACTION 'forgotten'");
$mesh->poll(1, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'month end' AND backend_xid IS NOT NULL", 1) or die;
$mesh->sql(1, 'CREATE ROLE only_there');
$mesh->sql($_, 'CREATE TABLE his (id int PRIMARY KEY)') for 1, 2;
$mesh->sql(1, 'ALTER TABLE his OWNER TO only_there');
$mesh->start_join(3);
ok($mesh->poll(3, "SELECT progress ~ 'waits for the transaction of process [0-9]+ \\(user .*month end.*open since|prepared transaction ''forgotten''' FROM replication_plugin.nodes WHERE is_local"),
	'a join that waits for an open transaction says whose') or diag($mesh->sql(3, 'SELECT progress FROM replication_plugin.nodes WHERE is_local'));
$mesh->sql(1, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'month end'");
$mesh->finish_sql($holder);
ok($mesh->poll(3, "SELECT progress ~ 'prepared transaction ''forgotten''' FROM replication_plugin.nodes WHERE is_local"), 'also of a prepared one')
	or diag($mesh->sql(3, 'SELECT progress FROM replication_plugin.nodes WHERE is_local'));
$mesh->sql(1, "ROLLBACK PREPARED 'forgotten'");

# ---------- a join that fails ----------

$mesh->poll(3, "SELECT progress ~ 'role \"only_there\" does not exist' FROM replication_plugin.nodes WHERE is_local", 't', 60) or die;
my %hidden;
my $deadline = time() + 6;
while (time() < $deadline)
{
	my $progress = $mesh->sql(3, 'SELECT coalesce(progress, state) FROM replication_plugin.nodes WHERE is_local');
	$hidden{$progress}++ unless $progress =~ /role "only_there" does not exist/;
	sleep 0.05;
}
is(join("\n", sort keys %hidden), '', 'the error of a step stays until that step is done');
$mesh->sql(3, 'CREATE ROLE only_there');
is($mesh->sql(3, "SELECT replication_plugin.wait_until_ready('60 seconds')"), 't', 'then the join ends');
is($mesh->sql(3, 'SELECT coalesce(progress, $$nothing$$) FROM replication_plugin.nodes WHERE is_local'), 'nothing', 'and nothing is left of the error');
$mesh->wait_for_streaming;

# ---------- a copy of a member's database ----------

# PostgreSQL waits five seconds for those who are in the database: on a busy machine a session of this test's, or a walsender, may need longer
my ($status, $err);
for (1 .. 5)
{
	($status, undef, $err) = $mesh->try_sql(1, 'CREATE DATABASE copy TEMPLATE app', 'postgres');
	last if $err !~ /is being accessed by other users/;
}
is($status, 0, "a member's database can be copied") or diag($err);
if ($status == 0)
{
	$mesh->sql(1, 'DELETE FROM t WHERE id > 10');
	$mesh->wait_converged;
	is($mesh->sql(3, 'SELECT count(*) FROM t'), 10, 'the group goes on');
	is($mesh->sql(1, 'SELECT count(*) FROM t', 'copy'), 100000, 'the copy has the rows');
	($status, undef, $err) = $mesh->try_sql(1, 'SELECT replication_plugin.forget_group()', 'copy');
	is($status, 0, 'and is told to be a database of its own') or diag($err);
	($status, undef, $err) = $mesh->try_sql(1, "INSERT INTO t VALUES (-1, 'copy')", 'copy');
	is($status, 0, 'then it takes writes') or diag($err);
	$mesh->sql(1, 'DROP DATABASE copy', 'postgres');
}
# others' sessions are not ended
my $other = $mesh->start_sql(1, "SET application_name = 'sleeper'; SELECT pg_sleep(30); SELECT 'slept'");
$mesh->poll(1, "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'sleeper'", 1) or die;
($status, undef, $err) = $mesh->try_sql(1, 'CREATE DATABASE copy TEMPLATE app', 'postgres');
like($err, qr/is being accessed by other users/, 'sessions of others are in the way as always');
$mesh->sql(1, "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name = 'sleeper'");
$mesh->finish_sql($other);
$mesh->sql(2, "INSERT INTO t VALUES (777777, 'x')");
$mesh->wait_converged;
$mesh->is_identical('at the end');
done_testing();
