# Runs a history (History.pm) on a Mesh of three servers. Every history begins with the same group: its data directories are
# copied back from a snapshot.
package History::Runner;

use strict;
use warnings;
use History;
use History::Check;
use History::Session;
use Mesh;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(time sleep);

my @nodes = 1 .. 3;

# What may happen to a client: constraints, deadlocks, conflicts with prepared transactions, servers that go.
my %expected = map { $_ => 1 } qw(23505 23P01 23503 40001 40P01 55P03 57014 57P01 57P02 57P03 25P01 25P02 3B001);

sub new
{
	my ($class) = @_;
	my $self = bless { dir => PostgreSQL::Test::Utils::tempdir(), sessions => {}, patience => 90 }, $class;
	$self->{mesh} = Mesh->new(3, proxy => 1, clock => 1, conf => <<'CONF');
max_prepared_transactions = 20
max_wal_size = 400MB
checkpoint_timeout = 60s
log_line_prefix = '%m [%p] %b %e '
replication_plugin.frontier_interval = 300ms
CONF
	my $mesh = $self->{mesh};
	$mesh->make_group(History::schema());
	$mesh->sql(1, History::settings());
	$mesh->sql(1, "SELECT replication_plugin.exclude_table('noted.$_')") for 'write', 'added';
	$mesh->poll($_, "SELECT bool_and(NOT replicated) FROM replication_plugin.tables WHERE \"table\"::text LIKE 'noted.%'") || die for @nodes;
	$mesh->wait_converged;
	$mesh->node($_)->stop('fast') for @nodes;
	system('cp', '-a', $mesh->node($_)->data_dir, $self->snapshot($_)) == 0 or die for @nodes;
	return $self;
}

sub mesh { return $_[0]{mesh}; }
sub snapshot { return $_[0]->mesh->node($_[1])->basedir . '/snapshot'; }

# All nodes as they were at the beginning.
sub reset
{
	my ($self) = @_;
	my $mesh = $self->mesh;
	$self->end_sessions;
	$mesh->heal(@nodes);
	# all are gone before the first one comes back: they would find each other set back
	for my $i (@nodes)
	{
		$mesh->kill_server($i) if -f $mesh->node($i)->data_dir . '/postmaster.pid';
	}
	$self->{time}{'reset, stopped'} = time() + $self->{time}{reset};
	for my $i (@nodes)
	{
		my $node = $mesh->node($i);
		Mesh::write_clock($node, 0);
		system('rm', '-rf', $node->data_dir) == 0 or die;
		system('cp', '-a', $self->snapshot($i), $node->data_dir) == 0 or die;
	}
	$self->{time}{'reset, copied'} = time() + $self->{time}{reset};
	for my $i (@nodes)
	{
		$mesh->start_server($i);
		$self->{log_read}{$i} = -s $mesh->node($i)->logfile;
	}
	$self->{time}{'reset, started'} = time() + $self->{time}{reset};
	%$self = (%$self, prepared => {}, failures => [], tokens => {}, begun => 0, errors => {}, down => {});
	$mesh->wait_for_streaming;
}

# Runs a history from the beginning. Returns the first failure: { kind, text, step }, or undef.
sub run
{
	my ($self, @steps) = @_;
	$self->{time} = { reset => -time() };
	$self->reset;
	$self->{time}{reset} += time();
	my $n = 0;
	for my $step (@steps)
	{
		$n++;
		eval { $self->step($step); 1 } or $self->failed('runner', "step $n: $@");
		last if @{ $self->{failures} };
	}
	$self->{transactions} += keys %{ $self->{tokens} };
	$self->{all_errors}{$_} += $self->{errors}{$_} for keys %{ $self->{errors} };
	note("seconds: " . CORE::join ', ', map { sprintf '%s %.1f', $_, $self->{time}{$_} } sort keys %{ $self->{time} });
	return @{ $self->{failures} } ? { %{ $self->{failures}[0] }, step => $n } : undef;
}

sub failed
{
	my ($self, $kind, $text) = @_;
	push @{ $self->{failures} }, { kind => $kind, text => $text };
}

sub step
{
	my ($self, $step) = @_;
	my $method = 'step_' . $step->{verb};
	die "no such step: $step->{verb}" unless $self->can($method);
	my $begin = time();
	$self->$method($step->{sql}, @{ $step->{args} });
	$self->{time}{ $step->{verb} } += time() - $begin;
}

# ---------- transactions ----------

# The session of a name like 2.1 (node.number), made if it is not there.
sub session
{
	my ($self, $name) = @_;
	my ($i) = split /\./, $name;
	my $session = $self->{sessions}{$name};
	return $session if $session && !$session->is_gone;
	$self->end_session($name) if $session;
	$self->mesh->poll($i, 'SELECT 1', 1) or die "node $i does not come back";
	return $self->{sessions}{$name} = History::Session->new($self->mesh->direct_dsn($i), $self->{dir});
}

sub transaction
{
	my ($self, $end, @sql) = @_;
	my $token = 'k' . ++$self->{begun};
	return CORE::join "\n", 'BEGIN;', (map { "$_;" } @sql), "INSERT INTO done VALUES ('$token');", $end,
		"SELECT '=done ' || token FROM done WHERE token = '$token';";
}

sub step_go
{
	my ($self, $sql, $name) = @_;
	$self->session($name)->send($self->transaction('COMMIT;', @$sql));
}

sub step_tx
{
	my ($self, $sql, $name) = @_;
	$self->step_go($sql, $name);
	$self->wait_session($name);
}

sub step_do
{
	my ($self, $sql, $name) = @_;
	$self->session($name)->send(CORE::join "\n", map { "$_;" } @$sql);
	$self->wait_session($name);
}

sub step_prepare
{
	my ($self, $sql, $name, $gid) = @_;
	my ($i) = split /\./, $name;
	$self->session($name)->send($self->transaction("PREPARE TRANSACTION '$gid';", @$sql));
	$self->wait_session($name);
	$self->{prepared}{$gid} = $i;
}

sub step_finish
{
	my ($self, undef, $i, $gid, $how) = @_;
	delete $self->{prepared}{$gid};
	return if $self->mesh->sql($i, "SELECT count(*) FROM pg_prepared_xacts WHERE gid = '$gid'") eq '0';
	$self->mesh->sql($i, uc($how) . " PREPARED '$gid'");
}

sub wait_session
{
	my ($self, $name) = @_;
	my $session = $self->{sessions}{$name} or return;
	$session->wait_idle($self->{patience}) or $self->failed('hang', "session $name waits for ever; it has printed " . substr $session->output, -300);
}

# Takes note of what a session's client was told.
sub end_session
{
	my ($self, $name) = @_;
	my $session = delete $self->{sessions}{$name} or return;
	my $output = $session->finish;
	$self->{tokens}{$_} = 1 for $output =~ /^=done (\w+)$/mg;
	for my $line ($output =~ /^(?:psql:\S* )?((?:ERROR|FATAL|PANIC): .*)$/mg)
	{
		my ($code) = $line =~ /^\w+: +(\w{5}):/;
		$self->{errors}{ $code // 'none' }++;
		$self->failed('error', "node $name: $line") unless !$code || $expected{$code};
	}
}

sub end_sessions
{
	my ($self) = @_;
	$self->end_session($_) for sort keys %{ $self->{sessions} };
}

# ---------- events ----------

# Each is about a server that runs; what a fault makes impossible does not take place.
sub quietly
{
	my ($self, $i, $sql) = @_;
	my ($status, $out, $err) = $self->mesh->try_sql($i, "SET statement_timeout = '20s'; $sql");
	$self->{errors}{"command: $1"}++ if $status && $err =~ /(ERROR: .*)/;
	return $out;
}

sub step_pause { my ($self, undef, $i, $j) = @_; $self->quietly($i, "SELECT replication_plugin.pause_link('node$j')"); }
sub step_resume { my ($self, undef, $i, $j) = @_; $self->quietly($i, "SELECT replication_plugin.resume_link('node$j')"); }
sub step_cut { my ($self, undef, $i) = @_; $self->mesh->cut($i); }
sub step_heal { my ($self, undef, $i) = @_; $self->mesh->heal($i); }
sub step_sleep { my ($self, undef, $seconds) = @_; sleep($seconds); }
sub step_clock { my ($self, undef, $i, $seconds) = @_; $self->mesh->set_clock($i, $seconds); }

sub step_pause_all
{
	my ($self) = @_;
	$self->quietly($_, 'SELECT replication_plugin.pause_link(provider) FROM replication_plugin.links') for @nodes;
	for my $i (@nodes)
	{
		$self->mesh->poll($i, "SELECT coalesce(bool_and(state = 'paused'), true) FROM replication_plugin.links", 't', $self->{patience}) or $self->failed('stuck', "links of node $i do not pause");
	}
}

sub step_resume_all
{
	my ($self) = @_;
	# of all nodes, as the view links has no rows in the first moments after a restart
	$self->quietly($_, 'SELECT replication_plugin.resume_link(node_name) FROM replication_plugin.nodes WHERE NOT is_local') for @nodes;
}

sub step_topology
{
	my ($self, undef, $i, $kind, $names) = @_;
	$self->quietly($i, sprintf "SELECT replication_plugin.set_topology('%s', nodes => '{%s}')", $kind, CORE::join ',', map { "node$_" } split /,/, $names);
}

sub step_kill
{
	my ($self, undef, $i, $kind) = @_;
	my $mesh = $self->mesh;
	if ($kind eq 'session')
	{
		my ($status, $pid) = $mesh->try_sql($i, "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name = 'psql' AND pid <> pg_backend_pid() ORDER BY state, pid LIMIT 1");
		Mesh::kill9_process($pid) if !$status && $pid =~ /^\d+$/;
	}
	else { $mesh->kill_one($i, $kind); }
	$mesh->poll($i, 'SELECT 1', 1) or $self->failed('down', "node $i does not come back");
}

sub step_crash
{
	my ($self, undef, $i) = @_;
	$self->mesh->kill9_server($i);
	$self->mesh->start_server($i);
}

sub step_restart
{
	my ($self, undef, $i, $mode) = @_;
	$self->mesh->node($i)->stop($mode, fail_ok => 1);
	$self->mesh->start_server($i);
}

# ---------- checks ----------

sub step_check
{
	my ($self) = @_;
	my $mesh = $self->mesh;
	$self->wait_session($_) for sort keys %{ $self->{sessions} };
	$mesh->heal(@nodes);
	$self->end_sessions;
	$self->step_finish(undef, $self->{prepared}{$_}, $_, 'commit') for sort keys %{ $self->{prepared} };
	$self->step_resume_all;
	return if @{ $self->{failures} };
	$self->wait_converged or return;
	my @problems = History::Check::problems($mesh, $self->{tokens});
	# what comes back by itself does so soon
	for (1 .. 30)
	{
		last if !@problems;
		sleep 1;
		@problems = History::Check::problems($mesh, $self->{tokens});
	}
	$self->failed('outcome', CORE::join "\n", @problems > 30 ? (@problems[ 0 .. 29 ], '...') : @problems) if @problems;
	$self->check_logs;
}

# Waits until all nodes have what any has, and all links stream.
sub wait_converged
{
	my ($self) = @_;
	my $until = time() + $self->{patience};
	my %wait = map { $_ => 1 } @nodes;
	while (1)
	{
		for my $i (sort keys %wait)
		{
			my ($status, $out) = $self->mesh->try_sql($i, "SELECT replication_plugin.wait_for_apply('3 seconds')
				AND (SELECT bool_and(state = 'streaming') FROM replication_plugin.links) AND NOT EXISTS (SELECT FROM replication_plugin.topology WHERE kind <> 'topology')");
			delete $wait{$i} if $status == 0 && $out eq 't';
		}
		last if !%wait;
		if (time() > $until)
		{
			$self->failed('stuck', "writes of nodes @{[sort keys %wait]} do not arrive everywhere:\n" . $self->state);
			return 0;
		}
		$self->check_logs;
		return 0 if @{ $self->{failures} };
		sleep 0.1;
	}
	# what came to a node after it had been asked
	for my $i (@nodes)
	{
		$self->mesh->poll($i, "SELECT replication_plugin.wait_for_apply('10 seconds')", 't', 60) or $self->failed('stuck', "writes of node $i do not arrive everywhere");
	}
	return !@{ $self->{failures} };
}

sub state
{
	my ($self) = @_;
	return CORE::join "\n", map { "node $_: " . CORE::join ' ', $self->mesh->try_sql($_, "SELECT provider, kind, state, waits_for, last_error FROM replication_plugin.links;
		SELECT * FROM replication_plugin.topology WHERE kind <> 'topology'; SELECT gid FROM pg_prepared_xacts; SELECT node_name, state, progress FROM replication_plugin.nodes WHERE state <> 'ready'") } @nodes;
}

# Crashes, failed assertions, leaks and internal errors since the last time.
sub check_logs
{
	my ($self) = @_;
	for my $i (@nodes)
	{
		my $file = $self->mesh->node($i)->logfile;
		my $from = $self->{log_read}{$i} || 0;
		my $text = PostgreSQL::Test::Utils::slurp_file($file, $from);
		$self->{log_read}{$i} = $from + length $text;
		my @lines = grep { /^TRAP: |PANIC: |was terminated by signal (?:4|6|7|8|11)\b|(?:reference|refcount|temporary file) leak|resource was not closed|leaked hash_seq|problem in alloc set|past chunk end| XX00\d (?:ERROR|FATAL|WARNING)/ } split /\n/, $text;
		$self->failed('log', "node $i: " . CORE::join "\n", @lines > 6 ? @lines[ 0 .. 5 ] : @lines) if @lines;
		$self->{log_errors}{$_}++ for map { s/\d+/N/gr } $text =~ /\] replication_plugin.*?((?:ERROR|WARNING):  .*)/g;
	}
}

1;
