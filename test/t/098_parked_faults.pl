# Parked rows when things go wrong: DDL while they are parked, races with local writers, locks, keys that go, other people's code.
use strict;
use warnings;
use Mesh;
use Test::More;
use Time::HiRes qw(sleep time);

my $mesh = Mesh->new(2);
$mesh->all_sql('CREATE ROLE mallory LOGIN');
my $tables = join('', map { "CREATE TABLE $_ (id int PRIMARY KEY, name text UNIQUE);\n" } qw(addcol1 addcol2 race err pinned gone nokey other));
$mesh->make_group($tables . <<'SQL');
CREATE TABLE wider (id int PRIMARY KEY, name text UNIQUE, n int);
CREATE TABLE out (id int PRIMARY KEY, name text UNIQUE);
CREATE TABLE chain (id int PRIMARY KEY, u text UNIQUE, w text UNIQUE);
CREATE TABLE part (id int, r int, name text, PRIMARY KEY (id, r), UNIQUE (name, r)) PARTITION BY LIST (r);
CREATE TABLE part1 PARTITION OF part FOR VALUES IN (1);
CREATE TABLE part2 PARTITION OF part FOR VALUES IN (2);
CREATE TABLE bits (k bit(8) PRIMARY KEY, n int);
CREATE SCHEMA mallory AUTHORIZATION mallory;
CREATE TABLE secret (id int PRIMARY KEY, name text UNIQUE, who text);
ALTER TABLE secret ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON secret USING (who = current_user); GRANT SELECT ON secret TO mallory;
CREATE TABLE doc (id int PRIMARY KEY, name text UNIQUE, body text);
CREATE TABLE doc2 (id int PRIMARY KEY, name text UNIQUE, body jsonb);
SQL

# Parks row $a of a table under row $b.
sub park { my ($t, $a, $b, $x) = @_; $mesh->concurrently([ 1, "INSERT INTO $t VALUES ($a, '$x')" ], [ 2, "INSERT INTO $t VALUES ($b, '$x')" ]); }
sub rows { my ($i, $t) = @_; return $mesh->sql($i, "SELECT coalesce(string_agg(x::text, ' ' ORDER BY x::text), '') FROM $t x"); }
sub section { my ($name, $sub) = @_; note("== $name ", time); eval { $sub->(); 1 } or fail("$name: $@"); }

section 'added column', sub {
	park('addcol1', 1, 2, 'a');
	$mesh->all_sql('ALTER TABLE addcol1 ADD COLUMN c int NOT NULL DEFAULT 5');
	$mesh->sql(1, 'DELETE FROM addcol1 WHERE id = 2');
	ok($mesh->poll(1, "SELECT count(*) FROM addcol1 WHERE id = 1 AND c = 5", 1), 'a row comes back after a column NOT NULL DEFAULT was added');
	park('addcol2', 1, 2, 'a');
	$mesh->sql(1, 'ALTER TABLE addcol2 ADD COLUMN c int DEFAULT 5');
	$mesh->sql(1, 'DELETE FROM addcol2 WHERE id = 2');
	$mesh->poll(1, "SELECT count(*) FROM addcol2 WHERE id = 1", 1) or die;
	$mesh->sql(2, 'ALTER TABLE addcol2 ADD COLUMN c int DEFAULT 5');
	$mesh->wait_converged;
	$mesh->poll(2, "SELECT count(*) FROM addcol2 WHERE id = 1", 1) or die;
	is(rows(1, 'addcol2'), rows(2, 'addcol2'), 'the same row on both nodes after ADD COLUMN DEFAULT');
};

section 'insert and delete of a parked key while it comes back', sub {
	park('race', 10, 11, 'eve');
	my $job = $mesh->start_sql(1, <<'SQL');
BEGIN; INSERT INTO race VALUES (10, 'fay');
DO $$ BEGIN FOR i IN 1 .. 1000 LOOP
	EXIT WHEN EXISTS (SELECT FROM pg_locks WHERE NOT granted AND locktype = 'transactionid' AND transactionid = pg_current_xact_id()::xid);
	PERFORM pg_sleep(0.02);
END LOOP; END $$;
DELETE FROM race WHERE id = 10; COMMIT;
SQL
	$mesh->poll(1, "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'DO %' AND wait_event = 'PgSleep' AND backend_xid IS NOT NULL", 1) or die 'no session has written the key';
	$mesh->sql(1, 'DELETE FROM race WHERE id = 11');
	my @o = $mesh->finish_sql($job); diag("@o") if "@o" =~ /\w/;
	$mesh->wait_converged;
	# what has come back, or is over, is parked no more
	$mesh->poll($_, "SELECT count(*) FROM replication_plugin.parked_row WHERE relid = 'race'::regclass", 0) or die for 1, 2;
	is(rows($_, 'race'), '', "a row written anew and deleted stays deleted on node $_") for 1, 2;
};

section 'tombstone goes before the parked row', sub {
	park('err', 20, 21, 'x');
	$mesh->all_sql('ALTER TABLE err ADD COLUMN c int; ALTER TABLE err ADD CHECK (c IS NOT NULL) NOT VALID');
	$mesh->sql(1, 'DELETE FROM err WHERE id = 21');
	$mesh->poll(1, "SELECT count(*) FROM replication_plugin.parked_row WHERE relid = 'err'::regclass AND retry_at > clock_timestamp() + interval '5 s'", 1) or die;
	$mesh->sql(1, "INSERT INTO err VALUES (20, 'y', 1); DELETE FROM err WHERE id = 20");
	ok($mesh->poll($_, "SELECT count(*) FROM replication_plugin.parked_row WHERE relid = 'err'::regclass", 0), "that the row is over is seen though it cannot come back, on node $_") for 1, 2;
	$mesh->all_sql('ALTER TABLE err DROP CONSTRAINT err_c_check');
	$mesh->wait_converged;
	is(rows($_, 'err'), '', "deleted row does not come back on node $_") for 1, 2;
};

section 'a row lock starves the table', sub {
	$mesh->concurrently([ 1, "INSERT INTO chain VALUES (1, 'u', 'w1'), (51, 'q', 'q1')" ], [ 2, "INSERT INTO chain VALUES (2, 'u', 'w')" ],
		[ 2, "SELECT pg_sleep(0.01)" ], [ 1, "INSERT INTO chain VALUES (3, 'u3', 'w')" ], [ 2, "INSERT INTO chain VALUES (52, 'q', 'q2')" ]);
	$mesh->poll($_, "SELECT string_agg(id::text, ' ' ORDER BY id) FROM chain", '1 3 52') or die for 1, 2;
	my $s = $mesh->node(1)->background_psql('app');
	my $pid = $s->query_safe('SELECT pg_backend_pid()');
	$s->query_safe('BEGIN; SELECT id FROM chain WHERE id = 1 FOR UPDATE');
	$mesh->sql(2, 'DELETE FROM chain WHERE id = 3');
	$mesh->wait_converged;
	# row 2 wants the place of row 1
	$mesh->poll(1, "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'replication_plugin park' AND $pid = ANY (pg_blocking_pids(pid)))
		OR EXISTS (SELECT FROM replication_plugin.parked_row WHERE relid = 'chain'::regclass AND retry_at IS NOT NULL)") or die 'nothing waits for row 1';
	$mesh->sql(2, 'DELETE FROM chain WHERE id = 52');
	ok($mesh->poll($_, "SELECT count(*) FROM chain WHERE id = 51", 1), "node $_: row 51 comes back though somebody has locked row 1") for 2, 1;
	is($s->query_safe('SELECT id FROM chain WHERE id = 1'), 1, 'which is locked still');
	$s->query_safe('COMMIT');
	$s->quit;
};

section 'partitions and TRUNCATE', sub {
	$mesh->concurrently([ 1, "INSERT INTO part VALUES (1, 1, 'a'), (3, 2, 'b')" ], [ 2, "INSERT INTO part VALUES (2, 1, 'a'), (4, 2, 'b')" ]);
	is(rows($_, 'part'), '(2,1,a) (4,2,b)', "partitioned table: parked on node $_") for 1, 2;
	$mesh->sql(1, 'TRUNCATE part');
	$mesh->wait_converged;
	# what has come back, or is over, is parked no more
	$mesh->poll($_, "SELECT count(*) FROM replication_plugin.parked_row WHERE relid IN ('part'::regclass, 'part1'::regclass, 'part2'::regclass)", 0) or die for 1, 2;
	is(rows($_, 'part'), '', "TRUNCATE takes parked rows of a partitioned table, node $_") for 1, 2;
};

section 'collecting pins with a table locked', sub {
	park('pinned', 1, 2, 'a');
	$mesh->sql(1, 'DELETE FROM pinned WHERE id = 2');
	$mesh->poll(1, 'SELECT count(*) FROM pinned', 1) or die;
	my $s = $mesh->node(1)->background_psql('app');
	$s->query_safe('BEGIN; LOCK TABLE pinned');
	my $old = $mesh->sql(1, "SELECT pg_terminate_backend(pid), pid FROM pg_stat_activity WHERE backend_type = 'replication_plugin park'") =~ s/t\|//r || 0;
	$mesh->poll(1, "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'replication_plugin park' AND pid <> $old", 1) or die 'no park worker';
	# each worker collects pins when it begins
	my $error = '';
	for (1 .. 20) { sleep 0.5; $error = $_ for grep { /park worker/ } $mesh->sql(1, "SELECT coalesce(last_error, '') FROM replication_plugin.local_node"); }
	is($error, '', 'the park worker lives while somebody has a lock on a table with pins');
	$s->query_safe('COMMIT');
	$s->quit;
};

section 'pins go with their rows', sub {
	my $pins = "SELECT string_agg(format('%s %s', relid::regclass, encode(key, 'hex')), ' ' ORDER BY relid, key) FROM replication_plugin.row_pin WHERE relid IN ('part'::regclass, 'gone'::regclass)";
	my $collect = sub { $mesh->sql($_, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type ~ 'park'") for 1, 2 };
	my $count = sub { my ($n, $name) = @_; ok($mesh->poll($_, $pins =~ s/string_agg.*key\) FROM/count(*) FROM/r, $n), "node $_: $name") || diag($mesh->sql($_, $pins)) for 1, 2 };
	park('gone', 1, 2, 'a');
	$mesh->concurrently([ 1, "INSERT INTO part VALUES (1, 1, 'a'), (3, 2, 'b')" ], [ 2, "INSERT INTO part VALUES (2, 1, 'a'), (4, 2, 'b')" ]);
	$mesh->sql(1, 'DELETE FROM part WHERE id IN (2, 4); DELETE FROM gone WHERE id = 2');
	for my $i (1, 2)
	{
		ok($mesh->poll($i, 'SELECT count(*) FROM part, gone WHERE part.id IN (1, 3) AND gone.id = 1', 2), "node $i: rows come back");
	}
	$collect->();
	$count->(3, 'pins of rows that are there stay');
	$mesh->sql(2, 'DELETE FROM gone');
	$mesh->wait_converged;
	$collect->();
	$count->(2, 'the pin of a row that is gone goes');
	$mesh->sql(1, 'DELETE FROM part WHERE id = 1');
	$mesh->all_sql('DROP TABLE part2');
	$mesh->wait_converged;
	$collect->();
	$count->(0, 'also in a partitioned table, and with a partition');
};

section 'rights', sub {
	$mesh->all_sql(<<'SQL');
SET SESSION AUTHORIZATION mallory;
CREATE UNLOGGED TABLE mallory.log (who text, what text);
CREATE FUNCTION mallory.note(w text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN INSERT INTO mallory.log VALUES (current_user, w); END $$;
CREATE TYPE mallory.mood AS ENUM ('sad');
CREATE FUNCTION mallory.mj(mallory.mood) RETURNS json LANGUAGE plpgsql AS $$ BEGIN PERFORM mallory.note('cast'); RETURN '1'; END $$;
CREATE CAST (mallory.mood AS json) WITH FUNCTION mallory.mj(mallory.mood);
CREATE FUNCTION mallory.ev(int, text) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$ BEGIN PERFORM mallory.note($2); RETURN $1; END $$;
CREATE TABLE mallory.moods (id int PRIMARY KEY, name text UNIQUE, m mallory.mood);
CREATE TABLE mallory.folded (id int PRIMARY KEY, v int);
CREATE UNIQUE INDEX ON mallory.folded ((v + mallory.ev(1, 'folded')));
CREATE TABLE mallory.stopped (id int PRIMARY KEY, v int);
CREATE UNIQUE INDEX ON mallory.stopped (mallory.ev(v, 'stopped'));
CREATE FUNCTION mallory.trg() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.v = 13 THEN RAISE unique_violation; END IF; RETURN NEW; END $$;
SQL
	$mesh->concurrently([ 1, "INSERT INTO secret VALUES (1, 'a', 'other')" ], [ 2, "INSERT INTO secret VALUES (2, 'a', 'other')" ]);
	like(($mesh->try_sql(1, 'SET SESSION AUTHORIZATION mallory; SELECT count(*) FROM replication_plugin.parked_of(NULL::secret)'))[2],
		qr/you may not see all rows of table "secret"/, 'parked_of() keeps to row security');
	$mesh->concurrently([ 1, "INSERT INTO mallory.moods VALUES (1, 'a', 'sad')" ], [ 2, "INSERT INTO mallory.moods VALUES (2, 'a', 'sad')" ]);
	$mesh->sql(1, 'SELECT * FROM replication_plugin.parked_rows');
	is($mesh->sql(1, "SELECT count(*) FROM mallory.log WHERE who <> 'mallory' AND what = 'cast'"), 0, 'the view parked_rows does not run code of a table owner as its reader');
	$mesh->sql(2, 'DELETE FROM mallory.log');
	$mesh->sql(1, 'INSERT INTO mallory.folded VALUES (1, 1)');
	$mesh->wait_converged;
	is($mesh->sql(2, "SELECT count(*) FROM mallory.log WHERE who <> 'mallory' AND what = 'folded'"), 0, 'opening an index on an expression does not run it as superuser');
	$mesh->sql(2, "SET SESSION AUTHORIZATION mallory; CREATE TRIGGER z BEFORE INSERT ON mallory.stopped FOR EACH ROW EXECUTE FUNCTION mallory.trg(); ALTER TABLE mallory.stopped ENABLE ALWAYS TRIGGER z");
	$mesh->sql(1, 'INSERT INTO mallory.stopped VALUES (1, 13)');
	$mesh->poll(2, "SELECT count(*) > 0 FROM replication_plugin.conflicts WHERE resolution = 'stop'") or die;
	is($mesh->sql(2, "SELECT count(*) FROM mallory.log WHERE who <> 'mallory' AND what = 'stopped'"), 0, 'recording a stop does not run expressions as superuser');
	$mesh->sql(2, 'DROP TRIGGER z ON mallory.stopped');
	$mesh->wait_converged;
};

section 'key dropped', sub {
	park('nokey', 1, 2, 'a');
	park('other', 1, 2, 'a');
	$mesh->sql(1, 'ALTER TABLE nokey DROP CONSTRAINT nokey_pkey');
	$mesh->sql(2, 'DELETE FROM other WHERE id = 2');
	ok($mesh->poll(1, 'SELECT count(*) FROM other WHERE id = 1', 1), 'rows of other tables come back while a table with parked rows has no key');
	unlike($mesh->sql(1, "SELECT coalesce(last_error, '') FROM replication_plugin.local_node"), qr/park worker/, 'the park worker does not fail');
	$mesh->sql(1, 'ALTER TABLE nokey ADD PRIMARY KEY (id)');
};

section 'keys without a hash', sub {
	$mesh->sql(2, 'CREATE UNIQUE INDEX ON bits (n)');
	$mesh->sql(1, "INSERT INTO bits VALUES (B'00000001', 7), (B'00000010', 7)");
	$mesh->wait_converged;
	sleep 2;
	my $now = 'SELECT txid_current(), extract(epoch FROM clock_timestamp())';
	my ($a, $from) = split /\|/, $mesh->sql(2, $now);
	sleep 3;
	my ($b, $to) = split /\|/, $mesh->sql(2, $now);
	cmp_ok(($b - $a) / ($to - $from), '<', 10, 'no transaction after the other while two rows of one transaction clash');
	$mesh->sql(2, 'DROP INDEX bits_n_idx');
};

section 'wider column', sub {
	$mesh->concurrently([ 1, "INSERT INTO wider VALUES (1, 'a', 1)" ], [ 2, "INSERT INTO wider VALUES (2, 'a', 1)" ]);
	$mesh->all_sql('ALTER TABLE wider ALTER COLUMN n TYPE bigint; ALTER TABLE wider RENAME n TO m');
	is($mesh->sql(1, q{SELECT "row" FROM replication_plugin.parked_rows WHERE "table" = 'wider'::regclass}), '{"m": 1, "id": 1, "name": "a"}', 'the view shows it');
	$mesh->sql(1, 'DELETE FROM wider WHERE id = 2');
	ok($mesh->poll($_, 'SELECT m FROM wider WHERE id = 1', 1), "a row comes back after a column got a wider type, on node $_") for 1, 2;
};

section 'excluded', sub {
	park('out', 1, 2, 'a');
	$mesh->sql(1, "SELECT replication_plugin.exclude_table('out')");
	$mesh->wait_converged;
	$mesh->sql(1, 'DELETE FROM out WHERE id = 2');
	is($mesh->sql($_, "SELECT count(*) FROM replication_plugin.parked_row WHERE relid = 'out'::regclass"), 0, "node $_ forgets parked rows of a table that is not replicated any more") for 1, 2;
};
done_testing();
