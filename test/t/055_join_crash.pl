# A join survives the crash of either side in each of its states, and completes by itself.
use strict;
use warnings;
use Mesh;
use Test::More;
use Time::HiRes qw(sleep time);

my $mesh = Mesh->new(3, conf => "replication_plugin.copy_workers = 2\n");
my ($source, $other, $joiner) = 1 .. 3;

$mesh->sql($source, sprintf("SELECT replication_plugin.create_group('test', 'node1', '%s')", $mesh->dsn($source)));

# what makes the states last: slow rows (copy), a slow view (indexes)
$mesh->sql($source, <<'SQL');
CREATE FUNCTION slow(int) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	PERFORM pg_catalog.pg_sleep(0.05);
	RETURN true;
END $$;
CREATE TABLE slow (id int PRIMARY KEY);
INSERT INTO slow SELECT generate_series(1, 12);
ALTER TABLE slow ADD CHECK (slow(id)) NOT VALID;
CREATE TABLE rows (id int PRIMARY KEY, n int, v text);
INSERT INTO rows SELECT g, 0, repeat('x', 50) FROM generate_series(1, 20000) g;
CREATE TABLE log (id int PRIMARY KEY, node int, parent int REFERENCES rows);
CREATE VIEW slow_view AS SELECT pg_sleep(0.7)::text;
CREATE MATERIALIZED VIEW slow_mv AS SELECT * FROM slow_view;
SQL
$mesh->join($other);
$mesh->wait_for_streaming($source, $other);

# Something that is written on a member.
my $written = 0;
sub write_on
{
	my ($i) = @_;
	$written++;
	$mesh->sql($i, "INSERT INTO log VALUES ($written, $i, $written * 7);"
			. "UPDATE rows SET n = n + 1, v = v || '$i' WHERE id % 100 = $i; DELETE FROM rows WHERE id = 20000 - $written");
}

# A transaction that holds something up on a node until it is ended.
sub hold
{
	my ($i, $sql) = @_;
	my ($in, $out) = ("BEGIN;\n$sql;\n\\echo held\n", '');
	my $h = IPC::Run::start([ 'psql', '-X', '-q', '-A', '-t', '-d', $mesh->dsn($i) ], '<', \$in, '>', \$out, '2>', '/dev/null');
	IPC::Run::pump($h) until $out =~ /held/;
	return $h;
}

sub release { my ($h) = @_; eval { $h->kill_kill; }; }

sub fresh_database
{
	$mesh->fresh_database($joiner);
	$mesh->poll($_, "SELECT count(*) FROM replication_plugin.slots WHERE subscriber = 'node3'", 0) or die 'the slot stays'
		for $source, $other;
}

# Waits for the joining node to be in a state.
sub wait_for_state
{
	my ($state) = @_;
	my $deadline = time() + 180;
	while (time() < $deadline)
	{
		my ($status, $out) = $mesh->try_sql($joiner, 'SELECT state FROM replication_plugin.local_node');
		return 1 if $status == 0 && $out eq $state;
		return 0 if $status == 0 && $out eq 'ready';
	}
	return 0;
}

my %holds = (
	'joining: slot' => [ $source, 'CREATE TABLE held (id int)' ],
	'joining: opening links' => [ $joiner, 'SELECT FROM replication_plugin.link FOR UPDATE' ]);

for my $state ('joining: slot', 'joining: schema', 'joining: copy', 'joining: indexes', 'joining: catching up', 'joining: opening links')
{
	for my $victim ($joiner, $source)
	{
		my $who = $victim == $joiner ? 'the joining node' : 'the source';
		my ($hold, $reached);

		# a state may pass unseen on a busy machine: then once more
		for my $try (1 .. 10)
		{
			$hold = $state eq 'joining: slot' ? hold(@{ $holds{$state} }) : undef;
			$mesh->start_join($joiner, $source);
			write_on($other);
			if ($state eq 'joining: catching up' || $state eq 'joining: opening links')
			{
				# a member that is away cannot acknowledge the new one
				wait_for_state('joining: copy');
				$mesh->node($other)->stop('fast');
			}
			if ($state eq 'joining: opening links')
			{
				wait_for_state('joining: catching up');
				# there is a second link already, if the other member was not stopped in time
				$mesh->poll($joiner, "SELECT count(*) > 0 FROM replication_plugin.links WHERE state = 'streaming'", 't') or die;
				$hold = hold(@{ $holds{$state} });
				$mesh->start_server($other);
			}
			$reached = wait_for_state($state);
			last if $reached;
			release($hold) if $hold;
			$mesh->start_server($other) if $state eq 'joining: catching up';
			$mesh->sql($joiner, "SELECT replication_plugin.wait_until_ready('240 seconds')");
			fresh_database();
		}
		ok($reached, "$state: reached") or $mesh->dump_state;
		sleep rand 0.3;
		$mesh->kill_server($victim);
		release($hold) if $hold;
		$mesh->start_server($victim);
		$mesh->start_server($other) if $state eq 'joining: catching up';
		write_on($source);
		is($mesh->sql($joiner, "SELECT replication_plugin.wait_until_ready('240 seconds')"), 't', "$state: $who crashed, the join completes")
			or diag($mesh->sql($joiner, 'SELECT * FROM replication_plugin.local_node'));
		$mesh->wait_for_streaming;
		write_on($joiner);
		write_on($other);
		$mesh->wait_converged;
		$mesh->is_identical("$state: $who crashed");
		is($mesh->sql($joiner, "SELECT count(*) FROM pg_constraint WHERE conrelid = 'log'::regclass AND contype IN ('p', 'f')"), 2,
			"$state: keys are there once");
		is($mesh->sql($joiner, 'SELECT (SELECT count(*) FROM replication_plugin.join_script), (SELECT count(*) FROM replication_plugin.tombstone t'
				. ' WHERE (pg_xact_commit_timestamp_origin(xmin)).roident IN (SELECT roident FROM pg_replication_origin WHERE roname ~ $$repair$$))'),
			'0|0', "$state: nothing is left over");
		fresh_database();
	}
}

# one of the copying processes dies: the whole server starts anew; and the user may ask it to end. On a busy machine the copy may be over
# before it is seen: then once more
my $ended = 'f';
for my $try (1 .. 10)
{
	fresh_database() if $try > 1;
	$mesh->start_join($joiner, $source);
	while ($ended ne 't' && $mesh->sql($joiner, 'SELECT state FROM replication_plugin.local_node') =~ /^joining: (slot|schema|copy)$/)
	{
		$ended = $mesh->sql($joiner, q{SELECT coalesce(bool_or(pg_terminate_backend(pid)), false) FROM pg_stat_activity
			WHERE application_name = 'replication_plugin copy' AND state = 'active'});
	}
	last if $ended eq 't';
	$mesh->sql($joiner, "SELECT replication_plugin.wait_until_ready('240 seconds')");
}
is($ended, 't', 'there was a copying session');
is($mesh->sql($joiner, "SELECT replication_plugin.wait_until_ready('240 seconds')"), 't', 'a copying session was ended');
$mesh->wait_for_streaming;
$mesh->wait_converged;
$mesh->is_identical('after the end of a copying session');
fresh_database();
$mesh->start_join($joiner, $source);
wait_for_state('joining: copy');
my ($status, $out, $err) = $mesh->try_sql($joiner, 'SELECT replication_plugin.leave_group()');
is($status, 0, 'leave_group() in the midst of copying') or diag($err);
ok($mesh->poll($joiner, "SELECT count(*) FROM pg_stat_activity WHERE application_name LIKE 'replication_plugin copy%'", 0), 'ends the copying');
done_testing();
