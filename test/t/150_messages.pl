# Logical messages with our prefix that somebody else writes: they change nothing, stop nothing, and are told of.
use strict;
use warnings;
use Mesh;
use PostgreSQL::Test::Utils;
use Test::More;

my $mesh = Mesh->new(3);
$mesh->make_group(<<'SQL');
CREATE TABLE bank (id int PRIMARY KEY, name text, money int);
CREATE TABLE wiki (id int PRIMARY KEY, v text);
INSERT INTO bank VALUES (1, 'alice', 100), (2, 'bob', 200);
SQL
$mesh->sql(1, "SELECT replication_plugin.set_conflict_policy('wiki', 'siblings')");
$mesh->sql(1, "INSERT INTO wiki VALUES (1, 'page')");
$mesh->wait_converged;
$mesh->sql(1, 'CREATE ROLE mallory LOGIN');
my $as = 'SET SESSION AUTHORIZATION mallory; ';

# What messages are made of, in bytes as SQL: names by their length.
sub number { my ($n, $bytes) = @_; return "'\\x" . unpack('H*', substr pack('Q>', $n), 8 - $bytes) . "'::bytea"; }
sub text { my ($t) = @_; return "'\\x" . unpack('H*', $t) . "'::bytea"; }
sub name { my ($t) = @_; return number(length $t, 2) . ' || ' . text($t); }

my %oid = map { my $t = $_; ($t => $mesh->sql(1, "SELECT '$t'::regclass::oid")) } qw(bank wiki pg_authid);
my $before = $mesh->sql(2, 'SELECT sum(restarts) FROM replication_plugin.links');

# a true message, of which somebody knows the bytes: in another transaction it is worth nothing
$mesh->sql(1, "SELECT pg_create_logical_replication_slot('spy', 'test_decoding')");
$mesh->sql(1, "UPDATE wiki SET v = 'page of alice' WHERE id = 1");
my $true_message = $mesh->sql(1, "SELECT encode(substring(data FROM position('content:'::bytea IN data) + 8), 'hex')
	FROM pg_logical_slot_get_binary_changes('spy', NULL, NULL, 'force-binary', '1') WHERE position('prefix: replication_plugin'::bytea IN data) > 0 LIMIT 1");
$mesh->sql(1, "SELECT pg_drop_replication_slot('spy')");
cmp_ok(length $true_message, '>', 40, 'the message of a write');

my $relation = join ' || ', text('R'), number(4711, 4), name('pg_catalog'), name('pg_authid'), text('k'), number(1, 2), number(1, 2), number(0, 1), name('rolname'),
	number(19, 4), number(4294967295, 4), number(0, 2), number(0, 2), number(1, 2);
my %forged = (
	'one letter' => text('x'),
	'nothing but a seal' => "'\\x" . '00' x 16 . "'::bytea",
	'random bytes' => "sha256('random'::bytea) || sha256('more'::bytea)",
	'a note of capture' => join(' || ', text('K'), number(1, 4), number($oid{bank}, 4), number(5, 8), number(0, 4)),
	'a note that hides changes' => join(' || ', text('K'), number(1, 4), number($oid{wiki}, 4), number(2**32, 8), number(0, 4), number(0, 8), number(0, 8)),
	'the head of a write' => join(' || ', text('W'), number($oid{bank}, 4), number(0, 8), number(0, 8), number(0, 8)),
	'a description of a catalog' => $relation,
	'the message of another transaction' => "decode('$true_message', 'hex')",
	'and more behind it' => "decode('$true_message', 'hex') || $relation",
	'its content with another seal' => "decode('" . substr($true_message, 0, -32) . "', 'hex') || substring(sha256('guess'::bytea) FOR 16)",
	'large' => "convert_to(repeat('W', 3000000), 'UTF8')",
);
for my $what (sort keys %forged)
{
	$mesh->sql(1, "$as SELECT pg_logical_emit_message(true, 'replication_plugin', $forged{$what})");
	$mesh->sql(1, "$as SELECT pg_logical_emit_message(false, 'replication_plugin', $forged{$what})");
	# beside rows, before and after them, and in a subtransaction
	$mesh->sql(2, "BEGIN; UPDATE bank SET money = money + 1 WHERE id = 1; SELECT pg_logical_emit_message(true, 'replication_plugin', $forged{$what}); SAVEPOINT s;
		SELECT pg_logical_emit_message(true, 'replication_plugin', $forged{$what}); UPDATE wiki SET v = v || '.' WHERE id = 1; RELEASE s; COMMIT");
	$mesh->wait_converged;
	my $n = $mesh->sql(3, 'SELECT money - 100 FROM bank WHERE id = 1');
	is($mesh->sql($_, 'SELECT money - 100 FROM bank WHERE id = 1'), $n, "$what: node $_ has the row") for 1 .. 3;
}
$mesh->is_identical('after all of them');
is($mesh->sql(3, "SELECT money, (SELECT v FROM wiki) FROM bank WHERE id = 1"), (100 + keys %forged) . '|page of alice' . '.' x keys %forged, 'and only what was written');
is($mesh->sql($_, "SELECT count(*) FROM replication_plugin.tables WHERE to_jsonb(tables) ->> 'out_of_step' = 'true'"), 0, "node $_: no table is out of step") for 1 .. 3;
is($mesh->sql(2, 'SELECT sum(restarts) FROM replication_plugin.links'), $before, 'no link has stopped');
my $log = slurp_file($mesh->node(1)->logfile);
like($log, qr/WARNING:  a logical message with the prefix "replication_plugin" in transaction \d+ was not written by the extension/, 'the log tells of it');

# the key is nobody's to read
$mesh->sql(1, 'ANALYZE replication_plugin.message_secret; GRANT pg_read_all_data, pg_write_all_data, pg_monitor TO mallory');
my ($status, $out, $err) = $mesh->try_sql(1, "$as SELECT count(*) FROM replication_plugin.message_secret");
is($out, 0, 'who may read all data reads no key');
is($mesh->sql(1, "$as SELECT count(*) FROM pg_statistic WHERE starelid = 'replication_plugin.message_secret'::regclass AND staattnum = 2"), 0, 'nor its statistics');
($status, $out, $err) = $mesh->try_sql(1, "$as INSERT INTO replication_plugin.message_secret VALUES (false, 'mine')");
isnt($status, 0, 'nor gives another one');
my @keys = map { $mesh->sql($_, "SELECT md5(secret), length(secret) FROM replication_plugin.message_secret") } 1 .. 3;
like($keys[0], qr/\|32$/, 'it has 256 bits');
is(scalar(keys %{ { map { $_ => 1 } @keys } }), 3, 'each node has its own');
$mesh->sql(1, 'DROP OWNED BY mallory; DROP ROLE mallory');
done_testing();
