# What stops a link, what its last_error says, and that it goes on by itself when the cause is
# gone: missing table, missing column, value that does not fit, second unique key, skipped
# transaction, paused link, provider down, triggers, rights, row security.
use strict;
use warnings;
use Mesh;
use Test::More;

my $mesh = Mesh->new(2);
$mesh->make_group('CREATE TABLE t (id int PRIMARY KEY, v text); CREATE ROLE alice; CREATE ROLE bob;');
$mesh->sql(2, 'CREATE ROLE alice; CREATE ROLE bob;');

sub last_error { return $mesh->sql(2, "SELECT last_error FROM replication_plugin.links WHERE provider = 'node1'"); }
sub stops_with
{
	my ($what, $like) = @_;
	ok($mesh->poll(2, "SELECT coalesce(last_error ~ '$like', false) FROM replication_plugin.links WHERE provider = 'node1'"), "$what: last_error says so");
}
sub goes_on
{
	my ($what) = @_;
	$mesh->wait_converged;
	ok($mesh->poll(2, "SELECT state FROM replication_plugin.links WHERE provider = 'node1'", 'streaming'), "$what: the link goes on by itself");
}

# a missing table
$mesh->sql(1, 'CREATE TABLE missing (id int PRIMARY KEY); INSERT INTO missing VALUES (7)');
stops_with('missing table', 'table "public.missing" does not exist');
like(last_error(), qr/INSERT in table "public.missing", row \(id=7\), transaction [0-9A-F]+\/[0-9A-F]+ of node 1/, 'it names table, row key and LSN');
like(last_error(), qr/skip_transaction\('node1', '[0-9A-F]+\/[0-9A-F]+'\)/, 'and the last resort');
# the other direction is not disturbed
$mesh->sql(2, "INSERT INTO t VALUES (1, 'from 2')");
ok($mesh->poll(1, 'SELECT count(*) FROM t', 1), 'the other direction is not disturbed');
$mesh->sql(2, 'CREATE TABLE missing (id int PRIMARY KEY)');
goes_on('missing table');
$mesh->is_identical('missing table');

# a missing column, a value that does not fit, a check
$mesh->sql(1, "ALTER TABLE t ADD extra int; UPDATE t SET extra = 5");
stops_with('missing column', 'has no column "extra"');
$mesh->sql(2, 'ALTER TABLE t ADD extra int');
goes_on('missing column');
$mesh->sql(2, 'ALTER TABLE t ALTER v TYPE varchar(10)');
$mesh->sql(1, "INSERT INTO t VALUES (2, 'longer than ten characters')");
stops_with('too long', 'value too long for type character varying');
$mesh->sql(2, 'ALTER TABLE t ALTER v TYPE text');
goes_on('too long');
$mesh->sql(2, 'ALTER TABLE t ADD CONSTRAINT small CHECK (extra < 100)');
$mesh->sql(1, 'UPDATE t SET extra = 1000 WHERE id = 2');
stops_with('check', 'violates check constraint "small"');
$mesh->sql(2, 'ALTER TABLE t DROP CONSTRAINT small');
goes_on('check');

# another key
$mesh->sql(1, 'CREATE TABLE k (a int PRIMARY KEY, b int)');
$mesh->sql(2, 'CREATE TABLE k (a int, b int PRIMARY KEY)');
$mesh->sql(1, 'INSERT INTO k VALUES (1, 2)');
stops_with('other key', 'the key of table "public.k" has other columns');
$mesh->sql(2, 'ALTER TABLE k DROP CONSTRAINT k_pkey; ALTER TABLE k ADD PRIMARY KEY (a)');
goes_on('other key');
$mesh->is_identical('after errors');

# a unique key that both fill, of a table without a primary key: the link stops, the conflict is told, once
$mesh->all_sql('CREATE TABLE u (id int, name text UNIQUE, mail text UNIQUE)');
$mesh->sql(2, "SELECT replication_plugin.pause_link('node1')");
$mesh->sql(1, "SELECT replication_plugin.pause_link('node2')");
$mesh->poll($_, 'SELECT state FROM replication_plugin.links', 'paused') or die for 1, 2;
$mesh->sql(1, "INSERT INTO u VALUES (1, 'ann', 'ann\@example.com')");
$mesh->sql(2, "INSERT INTO u VALUES (2, 'ann', 'other\@example.com'), (3, 'bob', 'ann\@example.com')");
$mesh->sql(2, "SELECT replication_plugin.resume_link('node1')");
stops_with('unique key of a table without a primary key', 'duplicate key value violates unique constraint "u_(name|mail)_key"');
ok($mesh->poll(2, "SELECT count(*) >= 2 FROM pg_stat_activity, (SELECT restarts FROM replication_plugin.links) l WHERE l.restarts > 0"), 'it is tried again');
is($mesh->sql(2, "SELECT conflict_type || ' ' || resolution || ' ' || (remote_row ->> 'id') FROM replication_plugin.conflicts WHERE resolution = 'stop'"),
	'multiple_unique_conflicts stop 1', 'the conflict is in the view, once');
# room is made on both
$mesh->all_sql('ALTER TABLE u DROP CONSTRAINT u_name_key, DROP CONSTRAINT u_mail_key');
$mesh->sql(1, "SELECT replication_plugin.resume_link('node2')");
goes_on('unique key');
$mesh->is_identical('unique key of a table without a primary key');

# skip_transaction is the last resort
$mesh->sql(1, "CREATE TABLE skipped (id int PRIMARY KEY); INSERT INTO skipped VALUES (1); INSERT INTO t VALUES (3, 'behind')");
stops_with('to be skipped', 'table "public.skipped" does not exist');
my ($lsn) = last_error() =~ /skip_transaction\('node1', '([0-9A-F\/]+)'\)/;
$mesh->sql(2, "SELECT replication_plugin.skip_transaction('node1', '$lsn')");
$mesh->wait_converged;
is($mesh->sql(2, 'SELECT v FROM t WHERE id = 3'), 'behind', 'the transaction behind the skipped one is applied');
like(PostgreSQL::Test::Utils::slurp_file($mesh->node(2)->logfile), qr/was skipped by skip_transaction/, 'the log tells of it');
$mesh->sql(1, 'DROP TABLE skipped');

# a lock here is waited for; a deadlock is no failure
my $restarts = $mesh->sql(2, 'SELECT restarts FROM replication_plugin.links');
my $errors = $mesh->sql(2, 'SELECT last_error_at FROM replication_plugin.links');
my $s = $mesh->node(2)->background_psql('app');
my $pid = $s->query_safe('SELECT pg_backend_pid()');
$s->query_safe('BEGIN; UPDATE t SET v = v WHERE id = 1');
$mesh->sql(1, "BEGIN; UPDATE t SET v = 'first' WHERE id = 3; UPDATE t SET v = 'second' WHERE id = 1; COMMIT");
ok($mesh->poll(2, "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'replication_plugin link%' AND wait_event_type = 'Lock'", 1), 'apply waits for a row lock');
# now a deadlock: we want what apply has
$s->query_until(qr//, "UPDATE t SET v = v WHERE id = 3;\n\\echo through\n");
ok($mesh->poll(2, "SELECT state ~ 'idle in transaction' FROM pg_stat_activity WHERE pid = $pid"), 'the deadlock is resolved');
eval { $s->query_until(qr//, "COMMIT;\n"); $s->quit };
$mesh->wait_converged;
is($mesh->sql(2, 'SELECT restarts FROM replication_plugin.links'), $restarts, 'no restart');
is($mesh->sql(2, 'SELECT last_error_at FROM replication_plugin.links'), $errors, 'and no error');
$mesh->is_identical('after a deadlock');

# pause and resume
$mesh->sql(2, "SELECT replication_plugin.pause_link('node1')");
ok($mesh->poll(2, 'SELECT state FROM replication_plugin.links', 'paused'), 'paused');
$mesh->sql(1, "INSERT INTO t VALUES (4, 'while paused')");
is($mesh->sql(1, "SELECT replication_plugin.wait_for_apply('200 ms')"), 'f', 'wait_for_apply tells that it is not through');
is($mesh->sql(2, 'SELECT count(*) FROM t WHERE id = 4'), 0, 'nothing arrives');
$mesh->sql(2, "SELECT replication_plugin.resume_link('node1')");
$mesh->wait_converged;
is($mesh->sql(2, 'SELECT count(*) FROM t WHERE id = 4'), 1, 'resumed');

# the provider is down
$mesh->kill_server(1);
ok($mesh->poll(2, "SELECT coalesce(last_error ~ 'connect', false) AND state = 'backoff' FROM replication_plugin.links"), 'subscriber says that the provider is down');
$mesh->sql(2, "INSERT INTO t VALUES (5, 'while down')");
$mesh->start_server(1);
ok($mesh->poll(2, 'SELECT state FROM replication_plugin.links', 'streaming'), 'and goes on when it is back');
$mesh->wait_converged;
$mesh->is_identical('provider was down');

# triggers: as in replica role, with the rights of the table's owner
$mesh->all_sql(<<'SQL');
CREATE TABLE owned (id int PRIMARY KEY, v text);
ALTER TABLE owned OWNER TO alice;
CREATE TABLE audit (who text, what text);
ALTER TABLE audit REPLICA IDENTITY FULL;
SELECT replication_plugin.exclude_table('audit');
GRANT INSERT ON audit TO alice;
CREATE FUNCTION note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN INSERT INTO public.audit VALUES (current_user, TG_NAME); RETURN NEW; END $$;
CREATE TRIGGER ordinary AFTER INSERT ON owned FOR EACH ROW EXECUTE FUNCTION note();
CREATE TRIGGER always AFTER INSERT ON owned FOR EACH ROW EXECUTE FUNCTION note();
ALTER TABLE owned ENABLE ALWAYS TRIGGER always;
CREATE TRIGGER replica BEFORE INSERT ON owned FOR EACH ROW EXECUTE FUNCTION note();
ALTER TABLE owned ENABLE REPLICA TRIGGER replica;
SQL
$mesh->sql(1, "INSERT INTO owned VALUES (1, 'x')");
$mesh->wait_converged;
is($mesh->sql(2, 'SELECT string_agg(who || what, $$,$$ ORDER BY what) FROM audit'), 'alicealways,alicereplica', 'triggers fire as in replica role, as the owner');

# row security: a partition of somebody else is no way in
$mesh->all_sql(<<'SQL');
CREATE TABLE wide (id int PRIMARY KEY, v text) PARTITION BY RANGE (id);
ALTER TABLE wide OWNER TO alice;
CREATE TABLE wide_1 PARTITION OF wide FOR VALUES FROM (0) TO (100);
SQL
$mesh->sql(2, 'ALTER TABLE wide_1 OWNER TO bob; ALTER TABLE wide_1 ENABLE ROW LEVEL SECURITY');
$mesh->sql(1, "INSERT INTO wide VALUES (1, 'x')");
stops_with('foreign partition', 'may not write to its partition');
$mesh->sql(2, 'ALTER TABLE wide_1 OWNER TO alice');
goes_on('foreign partition');
$mesh->is_identical('rights');

# passwords
is($mesh->sql(1, "SELECT replication_plugin.dsn_without_password('host=h password=secret user=u')"), 'user=u host=h', 'no password in what is shown');
my ($status, undef, $err) = $mesh->try_sql(1, 'SET ROLE alice; SELECT dsn FROM replication_plugin.node');
like($err, qr/permission denied/, 'the table of nodes is not readable');
($status) = $mesh->try_sql(1, 'SET ROLE alice; SELECT * FROM replication_plugin.nodes; SELECT * FROM replication_plugin.conflicts; SELECT * FROM replication_plugin.slots');
is($status, 0, 'the views are');
done_testing();
