# A group whose members have two versions of the extension: this one, and a pretended next one with a newer protocol, a message that differs, a
# column more in a replicated table of the extension, and a feature (test/next). Three nodes are updated one by one under load: no write is lost, and
# at each moment one of them takes writes. Until finish_upgrade() the feature is refused, naming who lacks it; afterwards older members are.
use strict;
use warnings;
use File::Basename;
use Mesh;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time sleep);

plan skip_all => 'the pretended next version is not built' unless $ENV{NEXT_BIN} && $ENV{LATER_BIN};
my $next = dirname($ENV{NEXT_BIN});
my $later = dirname($ENV{LATER_BIN});

my $mesh = Mesh->new(3);
my $dir = PostgreSQL::Test::Utils::tempdir();
$mesh->make_group('CREATE TABLE written (id text PRIMARY KEY, by_node int); CREATE TABLE wiki (id int PRIMARY KEY, v text);
	CREATE TABLE posts (id int PRIMARY KEY, likes int); CREATE TABLE rooms (id int PRIMARY KEY, name text UNIQUE);
	CREATE TABLE plain (id int PRIMARY KEY, v text); INSERT INTO plain SELECT g, $$old$$ FROM generate_series(1, 100) g');
$mesh->sql(1, "SELECT replication_plugin.set_conflict_policy('wiki', 'siblings'), replication_plugin.set_column_merge('posts', 'likes', 'counter')");
$mesh->sql(1, 'INSERT INTO posts VALUES (1, 0)');
$mesh->wait_converged;

# ---------- helpers ----------

# Starts a node's server with the binaries of another version.
sub start_with
{
	my ($i, $path) = @_;
	my $node = $mesh->node($i);
	$mesh->close_session($i);
	$node->stop if defined $node->{_pid};
	if ($path) { $node->{_install_path} = $path } else { delete $node->{_install_path} }
	$mesh->start_server($i);
}

# The commands of docs/upgrade.md: update, versions, finish.
my ($section) = slurp_file(dirname(__FILE__) . '/../../docs/upgrade.md') =~ /^## Updating the extension\n(.*?)^###? /ms;
my @commands = $section =~ /^ {4,}(\S.*;)$/mg;
is(scalar @commands, 3, 'docs/upgrade.md has three commands');

sub update_sql { $mesh->sql($_[0], $commands[0]) }

sub refused
{
	my ($i, $sql, $pattern, $name) = @_;
	my ($status, undef, $err) = $mesh->try_sql($i, $sql);
	isnt($status, 0, "$name: refused");
	like($err, $pattern, "$name: the error");
}

sub versions { CORE::join(', ', map { s/\|/ /gr } sort split /\n/, $mesh->sql($_[0], $commands[1])) }

sub all_speak
{
	my ($protocol, $name, @nodes) = @_;
	my $n = @nodes - 1;
	ok($mesh->poll($_, "SELECT count(*) FILTER (WHERE protocol = $protocol AND state IN ('streaming', 'catching up', 'blocked', 'retrying')), count(*)
		FROM replication_plugin.links", "$n|$n"), "$name: node $_ takes protocol $protocol from all others") for @nodes;
}

# Conflicts of each kind between all nodes; all come to the same, byte by byte.
sub conflicts
{
	my ($name, @nodes) = @_;
	our $round;
	$round++;
	$mesh->pause_all;
	$mesh->sql($_, "INSERT INTO wiki VALUES ($round, 'of $_'); UPDATE posts SET likes = likes + $_; INSERT INTO rooms VALUES ($round * 10 + $_, 'room $round');
		DELETE FROM plain WHERE id = $round * 10 + $_; UPDATE plain SET v = 'by $_ in $round' WHERE id < 5; INSERT INTO plain VALUES (1000 + $round, 'of $_')
		ON CONFLICT (id) DO UPDATE SET v = excluded.v") for @nodes;
	$mesh->resume_all;
	is($mesh->sql($_, "SELECT count(*) FROM replication_plugin.siblings('wiki', '{\"id\": $round}')"), scalar @nodes, "$name: node $_ has the siblings of all") for @nodes;
	$mesh->is_same_siblings('wiki', $name, @nodes);
	is($mesh->sql($_, 'SELECT count(*) FROM replication_plugin.parked_rows'), (@nodes - 1) * $round, "$name: node $_ has parked rows") for @nodes;
}

# A client that writes to each node in turn, with a new connection for each write. Acknowledged writes go to a file, and so do rounds in which no
# node took one.
sub start_load
{
	my $pid = fork() // die "fork: $!";
	return $pid if $pid;
	my $n = 0;
	open my $acks, '>', "$dir/acks" or die;
	open my $none, '>', "$dir/none" or die;
	$_->autoflush(1) for $acks, $none;
	while (!-f "$dir/stop")
	{
		my $taken = 0;
		for my $i (1 .. 3)
		{
			my $id = sprintf 'w%d', ++$n;
			my $dsn = $mesh->direct_dsn($i);
			next if system("psql -XqAt -v ON_ERROR_STOP=1 -d '$dsn' -c \"BEGIN; INSERT INTO written VALUES ('$id', $i); UPDATE posts SET likes = likes + 1 WHERE id = 1; COMMIT\" >/dev/null 2>&1");
			print $acks "$id\n";
			$taken++;
		}
		print $none "$n\n" if !$taken;
		sleep 0.1;
	}
	require POSIX;
	POSIX::_exit(0);
}

# ---------- before ----------

is(versions(1), 'node1 1.1 5 5, node2 1.1 5 5, node3 1.1 5 5', 'each member tells its version');
is($mesh->sql(2, "SELECT value FROM replication_plugin.group_settings WHERE name = 'protocol'"), '5', 'the protocol of the group is shown');
is($mesh->sql($_, 'SELECT replication_plugin.finish_upgrade()'), '5', "node $_: there is no upgrade to finish") for 1, 2;
refused(1, "SELECT replication_plugin.set_group_setting('protocol', '6')", qr/only raised, and by finish_upgrade/, 'the protocol is no setting to be set');
refused(1, "SELECT replication_plugin.require_feature('pretended')", qr/version 1\.1 of the extension has no feature "pretended"/, 'a feature that this version does not have');
refused(1, "ALTER EXTENSION replication_plugin UPDATE TO '1.2'", qr/cannot be updated to version 1\.2 here: this server has loaded the library of version 1\.1\nHINT:.*restart/,
	'ALTER EXTENSION before the restart');
is($mesh->sql(1, "SELECT extversion FROM pg_extension WHERE extname = 'replication_plugin'"), '1.1', 'nothing of it is left');
my $functions = $mesh->sql(1, "SELECT string_agg(p.oid::regprocedure::text, E'\\n' ORDER BY 1) FROM pg_proc p WHERE has_function_privilege('replication_plugin_peer', p.oid, 'EXECUTE')
	AND p.pronamespace = 'replication_plugin'::regnamespace");

# ---------- the first node ----------

my $load = start_load();
start_with(1, $next);
refused(1, "INSERT INTO plain VALUES (5000, 'too early')", qr/ERROR:.*extension.*1\.1.*library of version 1\.2\nHINT:.*ALTER EXTENSION replication_plugin UPDATE/s, 'between restart and ALTER EXTENSION');
is($mesh->sql(1, 'SELECT count(*) > 0 FROM plain'), 't', 'reads work meanwhile');
ok($mesh->poll(2, "SELECT last_error ~ 'node \"node1\" is being updated' FROM replication_plugin.links WHERE provider = 'node1'"), 'the others say so, and go on');
update_sql(1);
ok($mesh->poll($_, "SELECT count(*) FROM replication_plugin.nodes WHERE extension_version = '1.2'", 1), "node $_ knows who has the newer version") for 1 .. 3;
is(versions(3), 'node1 1.2 5 6, node2 1.1 5 5, node3 1.1 5 5', 'and which');
all_speak(5, 'one of three is updated', 1 .. 3);
conflicts('one of three is updated', 1 .. 3);
my @missing = grep { my $f = $_; !grep { $_ eq $f } split /\n/, $mesh->sql(1, "SELECT p.oid::regprocedure FROM pg_proc p WHERE has_function_privilege('replication_plugin_peer', p.oid, 'EXECUTE')
	AND p.pronamespace = 'replication_plugin'::regnamespace") } split /\n/, $functions;
is(CORE::join(', ', @missing), '', 'what members call on each other is still there in the newer version');

my $lacking = qr/not all members have version 1\.2 of the extension: "node2" \(version 1\.1\), "node3" \(version 1\.1\)\nHINT:  Install it there/;
refused($_, 'SELECT replication_plugin.finish_upgrade()', $lacking, "finish_upgrade() on node $_") for 1, 2;
refused(1, "SELECT replication_plugin.set_pretended('a', 'b')",
	qr/feature "pretended" cannot be used yet: these members of the group lack it: "node2" \(version 1\.1\), "node3" \(version 1\.1\)\nHINT:  Update the extension there, then.*finish_upgrade/, 'the feature');

# ---------- new nodes ----------

$mesh->add_server;
$mesh->join(4, 1);
is($mesh->sql(4, 'SELECT count(*) FROM plain WHERE id < 5'), 4, 'a node with the older version joins by one with the newer');
$mesh->sql(4, 'SELECT replication_plugin.leave_group()');
$mesh->node(4)->stop;
{
	local $mesh->{opt}{install_path} = $next;
	$mesh->add_server;
}
$mesh->join(5, 2);
is($mesh->sql(5, 'SELECT replication_plugin.group_protocol()'), 5, 'a node with the newer version joins by one with the older');
$mesh->sql(5, 'SELECT replication_plugin.leave_group()');
$mesh->node(5)->stop;
{
	local $mesh->{opt}{install_path} = $later;
	$mesh->add_server;
}
refused(6, sprintf("SELECT replication_plugin.join_group('node6', '%s', '%s')", $mesh->dsn(6), $mesh->dsn($_)),
	qr/has agreed on protocol 5, and version 1\.3 here speaks 6 to 7\nHINT:.*follows that of the members/, "a node that is newer by two versions, by node $_") for 1, 2;
$mesh->{nodes} = [ @{ $mesh->{nodes} }[ 0 .. 2 ] ];

# ---------- the others ----------

start_with(2, $next);
update_sql(2);
all_speak(5, 'two of three are updated', 1 .. 3);
conflicts('two of three are updated', 1 .. 3);
$mesh->close_session(3);
$mesh->node(3)->stop;
refused(1, 'SELECT replication_plugin.finish_upgrade()', qr/not all members have version 1\.2 of the extension: "node3" \(version 1\.1\)\n/, 'finish_upgrade() while a member is down');
refused(2, "SELECT replication_plugin.set_pretended('a', 'b')", qr/lack it: "node3" \(version 1\.1\)\n/, 'the feature, while a member is down');
start_with(3, $next);
update_sql(3);
all_speak(5, 'all are updated, and have not agreed', 1 .. 3);
ok($mesh->poll(1, "SELECT count(*) FROM replication_plugin.nodes WHERE extension_version = '1.2'", 3), 'node 1 knows');
refused(1, "SELECT replication_plugin.set_pretended('a', 'b')", qr/feature "pretended" cannot be used yet: all members have it, and the group has not agreed on it\nHINT:  SELECT replication_plugin\.finish_upgrade/,
	'the feature, before finish_upgrade()');
conflicts('all are updated, and have not agreed', 1 .. 3);

# ---------- the agreement ----------

$mesh->close_session(2);
my $session = $mesh->node(2)->background_psql('app');
$session->query_safe('BEGIN; SELECT replication_plugin.finish_upgrade(), replication_plugin.set_pretended($$never$$, $$never$$)');
$mesh->kill9_server(2);
eval { $session->quit };
$mesh->start_server(2);
ok($mesh->poll($_, 'SELECT replication_plugin.group_protocol()', 5), "node $_: a crash before the commit: no agreement") for 1 .. 3;
all_speak(5, 'after the crash', 1 .. 3);

my @jobs = map { $mesh->start_sql($_, "$commands[2] SELECT replication_plugin.set_pretended('of $_', 'note of $_')") } 1 .. 3;
for my $i (1 .. 3)
{
	my ($out, $err) = $mesh->finish_sql($jobs[ $i - 1 ]);
	is("$out$err", "6\n\n", "node $i: finish_upgrade() on all at once, and the feature at once");
}
is($mesh->sql($_, 'SELECT replication_plugin.finish_upgrade()'), '6', "node $_: twice") for 1 .. 3;
all_speak(6, 'after the agreement', 1 .. 3);
ok($mesh->poll($_, "SELECT string_agg(value || ' ' || note, ', ' ORDER BY set_by) FROM replication_plugin.group_setting WHERE name = 'pretended'", 'of 1 note of 1, of 2 note of 2, of 3 note of 3'),
	"node $_ has what the feature has written, also what was written before its streams spoke the new protocol") for 1 .. 3;
conflicts('after the agreement', 1 .. 3);

# ---------- the load ----------

open my $stop, '>', "$dir/stop" or die;
close $stop;
waitpid $load, 0;
is($?, 0, 'the client ends well');
my @acks = split /\n/, slurp_file("$dir/acks");
is((-s "$dir/none") || 0, 0, 'at each moment a node took writes');
$mesh->wait_converged;
for my $i (1 .. 3)
{
	my %there = map { $_ => 1 } split /\n/, $mesh->sql($i, 'SELECT id FROM written');
	is(CORE::join(' ', grep { !$there{$_} } @acks), '', sprintf('node %d has each of %d acknowledged writes', $i, scalar @acks));
	is($mesh->sql($i, 'SELECT likes FROM posts WHERE id = 1'), scalar(keys %there) + 4 * (1 + 2 + 3), "node $i: and each once");
}
$mesh->is_identical('after all');

# ---------- who is refused afterwards ----------

start_with(3, undef);
refused(3, "INSERT INTO plain VALUES (6000, 'x')", qr/extension.*is of version 1\.2 in this database, and its library of version 1\.1/, 'a member that is started with the older version');
ok($mesh->poll(1, "SELECT last_error ~ 'node \"node3\" is being updated: its library is of version 1.1' FROM replication_plugin.links WHERE provider = 'node3'"), 'the others take nothing from it');
$mesh->sql(1, "INSERT INTO plain VALUES (6001, 'meanwhile')");
ok($mesh->poll(2, 'SELECT count(*) FROM plain WHERE id = 6001', 1), 'and go on among themselves');
start_with(3, $next);
ok($mesh->poll(3, 'SELECT count(*) FROM plain WHERE id = 6001', 1), 'with the right version it goes on');

# A member that comes back with the older version in all its parts, as one that was set back, says what it speaks.
refused(1, "SELECT replication_plugin.handshake(jsonb_build_object('group_id', (SELECT group_id FROM replication_plugin.local_node), 'node_id', 3, 'version', '1.1', 'oldest_protocol', 5,
	'newest_protocol', 5, 'agreed_protocol', 5, 'run', '[]'::jsonb))",
	qr/the group has agreed on protocol 6; node "node1" \(version 1\.2 of replication_plugin\) speaks 5 to 6, and node "node3" \(version 1\.1\) speaks 5 to 5\nHINT:  Install the version of the other members on node "node3"/, 'a stale subscriber');
refused(1, "SELECT replication_plugin.handshake(jsonb_build_object('group_id', (SELECT group_id FROM replication_plugin.local_node), 'node_id', 3, 'version', '1.4', 'oldest_protocol', 7,
	'newest_protocol', 8, 'agreed_protocol', 7, 'run', '[]'::jsonb))",
	qr/the group has agreed on protocol 7; node "node1".*speaks 5 to 6, and node "node3" \(version 1\.4\) speaks 7 to 8\nHINT:  Install the version of the other members on node "node1"/, 'a stale provider');

$mesh->add_server;
refused(4, sprintf("SELECT replication_plugin.join_group('node7', '%s', '%s')", $mesh->dsn(4), $mesh->dsn(1)),
	qr/\(version 1\.2 of the extension\) has agreed on protocol 6, and version 1\.1 here speaks 5 to 5\nHINT:  Install the version of the members/, 'a node with the older version');
$mesh->node(4)->stop;
{
	local $mesh->{opt}{install_path} = $later;
	$mesh->add_server;
}
$mesh->join(5, 1);
is($mesh->sql(5, "SELECT extension_version || ' ' || oldest_protocol || ' ' || newest_protocol FROM replication_plugin.nodes WHERE is_local"), '1.3 6 7', 'a node with the version that follows joins');
is($mesh->sql(5, "SELECT count(*) FROM replication_plugin.group_setting WHERE note LIKE 'note of %'"), 3, 'with the new column');
$mesh->sql(5, "INSERT INTO plain VALUES (7000, 'of a newer version')");
ok($mesh->poll(1, 'SELECT count(*) FROM plain WHERE id = 7000', 1), 'and its writes arrive');
done_testing();
