# A group of nodes on this machine, for TAP tests: real servers, real connections, a proxy
# before each node that can cut it off.
package Mesh;

use strict;
use warnings;
use IO::Select;
use IO::Socket::UNIX;
use Test::More;

# "make installcheck" runs some of the tests wherever it is called
BEGIN
{
	plan skip_all => 'PostgreSQL does not run as root: call make installcheck as an ordinary user for these tests' if $> == 0;
	plan skip_all => 'the Perl module IPC::Run is missing (package libipc-run-perl)' if !eval { require IPC::Run; 1 };
}
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Session;
use Time::HiRes qw(time sleep);

my $count = 0;
my $count_sql = 0;
my $patience = 180;    # seconds

# Seed of everything random; printed, and taken from the environment to repeat a run.
sub seed
{
	my $seed = $ENV{SEED} || (int(time() * 1000) ^ $$) % 1_000_000_000;
	srand($seed);
	diag("seed $seed (SEED=$seed repeats the choices)") if $ENV{VERBOSE};
	note("seed $seed");
	return $seed;
}

# Mesh->new(n, option => value...): n servers with a database "app" and the extension.
# proxy => 1: nodes reach each other through proxies. conf => text: more settings. clock => 1: set_clock() can be used.
sub new
{
	my ($class, $n, %opt) = @_;
	my $self = bless { nodes => [], proxies => [], opt => \%opt, parent => $$ }, $class;
	$self->add_server for 1 .. $n;
	return $self;
}

# True if this PostgreSQL has a setting.
my %described;
sub has_setting
{
	my ($name, $install) = @_;
	my $program = $install ? "$install/bin/postgres" : 'postgres';
	$described{$program} //= `$program --describe-config`;
	return $described{$program} =~ /^$name\b/m ? 1 : 0;
}

sub has_whitelist { return has_setting('output_plugin_libraries', @_); }

# One more server, not in the group yet. Returns its index. install_path => DIRECTORY: of another installation.
sub add_server
{
	my ($self, %opt) = @_;
	my $name = sprintf('n%d', ++$count);
	my $install = $opt{install_path} // $self->{opt}{install_path};
	my $node = PostgreSQL::Test::Cluster->new($name, install_path => $install);
	if ($opt{backup_of})
	{
		$self->{nodes}[ $opt{backup_of} - 1 ]->backup('copy');
		$node->init_from_backup($self->{nodes}[ $opt{backup_of} - 1 ], 'copy');
	}
	else
	{
		$node->init(extra => $opt{initdb} || [ '--encoding=UTF8', '--locale=C' ]);
		$node->append_conf('postgresql.conf', $self->settings($install));
	}
	$self->with_clock($node, sub { $node->start });
	push @{ $self->{nodes} }, $node;
	my $i = scalar @{ $self->{nodes} };
	unless ($opt{backup_of})
	{
		$node->safe_psql('postgres', 'CREATE DATABASE app');
		$node->safe_psql('app', 'CREATE EXTENSION replication_plugin');
		$node->safe_psql('app', sprintf('CREATE ROLE %s LOGIN REPLICATION IN ROLE replication_plugin_peer', $self->dsn_user))
			if $self->dsn_user ne $self->user;
	}
	$self->start_proxy($i) if $self->{opt}{proxy};
	return $i;
}

sub settings
{
	my ($self, $install) = @_;
	my $conf = <<"EOC";
wal_level = logical
track_commit_timestamp = on
shared_preload_libraries = 'replication_plugin'
max_replication_slots = 30
max_wal_senders = 30
max_worker_processes = 40
max_connections = 100
fsync = off
restart_after_crash = on
log_min_messages = warning
log_statement = none
log_replication_commands = off
wal_sender_timeout = 20s
wal_receiver_timeout = 20s
replication_plugin.retry_min = 50ms
replication_plugin.retry_max = 1s
replication_plugin.reroute_timeout = 3s
EOC
	$conf .= "output_plugin_libraries = 'pgoutput, test_decoding, replication_plugin'\n" if has_whitelist($install);
	$conf .= "max_active_replication_origins = 30\n" if has_setting('max_active_replication_origins', $install);
	$conf .= $self->{opt}{conf} if $self->{opt}{conf};
	return $conf;
}

sub node { return $_[0]{nodes}[ $_[1] - 1 ]; }
sub size { return scalar @{ $_[0]{nodes} }; }

sub dsn
{
	my ($self, $i, $db) = @_;
	my $node = $self->node($i);
	my $host = $self->{opt}{proxy} ? $self->{proxies}[ $i - 1 ]{dir} : $node->host;
	return sprintf("host=%s port=%d dbname=%s user=%s", $host, $node->port, $db || 'app', $self->dsn_user);
}

# Runs something that starts a server; its clock can be shifted then.
sub with_clock
{
	my ($self, $node, $sub) = @_;
	return $sub->() unless $self->{opt}{clock};
	$node->{clock_file} ||= sprintf('%s/clock_shift', $node->basedir);
	write_clock($node, 0) unless -f $node->{clock_file};
	local $ENV{CLOCK_SHIFT_FILE} = $node->{clock_file};
	local $ENV{LD_PRELOAD} = $ENV{CLOCK_SHIM};
	return $sub->();
}

# In place: the servers have mapped the file.
sub write_clock
{
	my ($node, $seconds) = @_;
	open my $fh, -f $node->{clock_file} ? '+<' : '>', $node->{clock_file} or die "$node->{clock_file}: $!";
	syswrite($fh, pack('q', int($seconds * 1_000_000))) == 8 or die;
	close $fh;
}

# Sets a server's wall clock so many seconds ahead of the machine's.
sub set_clock
{
	my ($self, $i, $seconds) = @_;
	write_clock($self->node($i), $seconds);
	note(sprintf 'node %d: clock %+g s', $i, $seconds);
}

# The dsn that goes past the proxy.
sub direct_dsn
{
	my ($self, $i) = @_;
	return sprintf('host=%s port=%d dbname=app user=%s', $self->node($i)->host, $self->node($i)->port, $self->user);
}

sub user { return scalar getpwuid($<); }

# The role that nodes connect as: DSN_ROLE=peer, or dsn_role => 'peer': one that is no superuser.
sub dsn_user
{
	my ($self) = @_;
	my $role = $self->{opt}{dsn_role} || $ENV{DSN_ROLE} || 'superuser';
	return $role eq 'peer' ? 'node_peer' : $self->user;
}

# SQL on a node; dies on error.
sub sql
{
	my ($self, $i, $sql, $db) = @_;
	my ($status, $out, $err) = $self->try_sql($i, $sql, $db);
	note("node $i: $err") if $err ne '';
	die "error running SQL on node $i (status $status): $err\nwith sql '$sql'" if $status != 0;
	return $out;
}

# SQL on a node; returns (status, stdout, stderr).
sub try_sql
{
	my ($self, $i, $sql, $db) = @_;
	if (($db || 'app') eq 'app' && Session::fits($sql))
	{
		return $self->session($i)->run($sql);
	}
	$self->close_session($i) if $db || Session::changes_defaults($sql);
	return $self->try_alone($i, $sql, $db);
}

# The same in a session of its own.
sub try_alone
{
	my ($self, $i, $sql, $db) = @_;
	my ($out, $err) = ('', '');
	my $status = eval { $self->node($i)->psql($db || 'app', $sql, stdout => \$out, stderr => \$err,
		on_error_stop => 1) };
	# a psql that cannot connect may be gone before it is told what to run
	return (2, $out, $@) if $@ =~ /Broken pipe/;
	die $@ if $@;
	return ($status, $out, $err);
}

# The session that is kept for sql() on a node; a new one where the last one has ended.
sub session
{
	my ($self, $i) = @_;
	my $node = $self->node($i);
	my $kept = \$self->{sessions}{$$}{$i};
	my %env = $node->_get_env;
	return $$kept if $$kept && $$kept->is_like(\%env) && $$kept->is_alive;
	$$kept = Session->new(\%env, $node->installed_command('psql'), '-XAtq', '-v', 'ON_ERROR_STOP=1',
		'-d', $node->connstr('app'), '-f', '-');
	return $$kept;
}

# Closes the session that is kept on a node.
sub close_session
{
	my ($self, $i) = @_;
	my $kept = delete $self->{sessions}{$$}{$i};
	$kept->close if $kept;
}

# SQL on all nodes.
sub all_sql
{
	my ($self, $sql) = @_;
	$self->sql($_, $sql) for 1 .. $self->size;
}

# The first node makes the group, the others join through it one after the other.
sub make_group
{
	my ($self, $setup) = @_;
	$self->sql(1, sprintf("SELECT replication_plugin.create_group('test', 'node1', '%s')", $self->dsn(1)));
	$self->sql(1, $setup) if $setup;
	$self->join($_) for 2 .. $self->size;
	$self->wait_for_streaming;
}

sub start_join
{
	my ($self, $i, $via) = @_;
	$self->sql($i, sprintf("SELECT replication_plugin.join_group('node%d', '%s', '%s')",
			$i, $self->dsn($i), $self->dsn($via || 1)));
}

sub join
{
	my ($self, $i, $via) = @_;
	$self->start_join($i, $via);
	my $ready = $self->sql($i, "SELECT replication_plugin.wait_until_ready('240 seconds')");
	return if $ready eq 't';
	diag($self->sql($i, 'SELECT * FROM replication_plugin.nodes'));
	die "node $i does not get ready";
}

# SQL on a node, in the background. finish_sql() waits for its end and returns (stdout, stderr).
sub start_sql
{
	my ($self, $i, $sql) = @_;
	my $base = sprintf('%s/background.%d', $self->{dir} ||= PostgreSQL::Test::Utils::tempdir(), ++$count_sql);
	open my $fh, '>', "$base.sql" or die;
	print $fh $sql;
	close $fh;
	my $pid = fork() // die "fork: $!";
	if (!$pid)
	{
		open STDOUT, '>', "$base.out";
		open STDERR, '>', "$base.err";
		{ exec 'psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-f', "$base.sql", '-d', $self->direct_dsn($i); }
		require POSIX;
		POSIX::_exit(127);
	}
	return { pid => $pid, base => $base };
}

sub finish_sql
{
	my ($self, $job) = @_;
	waitpid $job->{pid}, 0;
	return map { PostgreSQL::Test::Utils::slurp_file("$job->{base}.$_") } 'out', 'err';
}

# Two commands of the extension at once on a node: the transaction of the first one ends when the second one, in a session beside it, waits for a
# lock. Returns whether it did, and the errors of the second one.
sub at_once
{
	my ($self, $i, $first, $second) = @_;
	my $session = $self->node($i)->background_psql('app');
	$session->query_safe("BEGIN; SELECT replication_plugin.$first");
	my $job = $self->start_sql($i, "SELECT replication_plugin.$second");
	my ($name) = $second =~ /^(\w+)/;
	my $waits = $self->poll($i, "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'SELECT replication_plugin.$name%'", 1);
	$session->query_safe('COMMIT');
	$session->quit;
	return ($waits, ($self->finish_sql($job))[1]);
}

# Waits until a query on a node gives the expected answer (default t). The limit is for machines that are slow, or busy with other
# things: what waits says nothing of how long a thing may take.
sub poll
{
	my ($self, $i, $query, $expected, $seconds, $db) = @_;
	$expected //= 't';
	my $deadline = time() + ($seconds || $patience);
	my ($status, $out, $err);
	while (time() < $deadline)
	{
		($status, $out, $err) = $self->try_sql($i, $query, $db);
		return 1 if $status == 0 && $out eq $expected;
		sleep 0.05;
	}
	diag("node $i: $query\ngave: " . ($out // '') . ' ' . ($err // '') . "\nexpected: $expected");
	return 0;
}

# Waits until every node streams from every other one.
sub wait_for_streaming
{
	my ($self, @members) = @_;
	@members = 1 .. $self->size unless @members;
	for my $i (@members)
	{
		$self->poll($i, "SELECT count(*) FROM replication_plugin.links WHERE state = 'streaming'",
			scalar(@members) - 1) or do { $self->dump_state; die "node $i does not stream"; };
	}
}

# Waits until these are the links that the members take changes from, [provider, subscriber] each, and no others.
# under_load => 1: connected is enough, else all stream.
sub wait_for_links
{
	my ($self, $links, %opt) = @_;
	my %wanted;
	push @{ $wanted{ $_->[1] } }, $_->[0] for @$links;
	my $state = $opt{under_load} ? "CASE WHEN state IN ('streaming', 'catching up', 'blocked', 'retrying') THEN 'streaming' ELSE state END" : 'state';
	for my $i (sort { $a <=> $b } keys %wanted)
	{
		my $expected = CORE::join(', ', map { "node$_ topology streaming" } sort { "node$a" cmp "node$b" } @{ $wanted{$i} });
		$self->poll($i, "SELECT string_agg(provider || ' ' || kind || ' ' || $state, ', ' ORDER BY provider COLLATE \"C\") FROM replication_plugin.links",
			$expected, $opt{seconds}) or do { $self->dump_state; die "node $i does not get its links"; };
	}
}

# The links of shapes, for wait_for_links().
sub mesh_links
{
	my @members = @_;
	return [ map { my $s = $_; map { [ $_, $s ] } grep { $_ != $s } @members } @members ];
}

sub ring_links
{
	my @order = @_;
	return [ map { [ $order[ $_ - 1 ], $order[$_] ] } 0 .. $#order ];
}

sub star_links
{
	my ($hub, @leaves) = @_;
	return [ map { ([ $hub, $_ ], [ $_, $hub ]) } @leaves ];
}

# Makes a custom topology of these links, from whatever there is: first adds, then drops.
sub set_links
{
	my ($self, $i, $links) = @_;
	my %wanted = map { ("node$_->[0] node$_->[1]" => 1) } @$links;
	my %there = map { ($_ => 1) } split /\n/, $self->sql($i, "SELECT provider || ' ' || subscriber FROM replication_plugin.topology WHERE kind = 'topology'");
	for my $verb ('add', 'drop')
	{
		my ($in, $out) = $verb eq 'add' ? (\%wanted, \%there) : (\%there, \%wanted);
		$self->sql($i, sprintf("SELECT replication_plugin.${verb}_link('%s', '%s')", split / /)) for grep { !$out->{$_} } sort keys %$in;
	}
}

# Waits until everything written anywhere is applied everywhere.
sub wait_converged
{
	my ($self, @members) = @_;
	@members = 1 .. $self->size unless @members;
	for my $round (1, 2)
	{
		for my $i (@members)
		{
			$self->poll($i, "SELECT replication_plugin.wait_for_apply('10 seconds')", 't', 240)
				or do { $self->dump_state; die "writes of node $i do not arrive everywhere"; };
		}
	}
}

sub dump_state
{
	my ($self) = @_;
	for my $i (1 .. $self->size)
	{
		my (undef, $out, $err) = $self->try_sql($i,
			'SELECT * FROM replication_plugin.links; SELECT * FROM replication_plugin.slots; SELECT * FROM replication_plugin.nodes');
		diag("node $i:\n$out\n$err");
	}
}

# Waits until all rows of some tables are equal on the members; needs no word from nodes that are down.
sub wait_identical
{
	my ($self, $tables, $seconds, @members) = @_;
	my $sum = CORE::join(" || ' ' || ", map { "(SELECT count(*) || ' ' || coalesce(sum(hashtextextended(x::text, 0)), 0) FROM $_ x)" } @$tables);
	my $deadline = time() + $seconds;
	while (time() < $deadline)
	{
		my %seen = map { $self->sql($_, "SELECT $sum") => 1 } @members;
		return 1 if keys %seen == 1;
		sleep 0.1;
	}
	return 0;
}

# All these nodes come to the same look, which is the expected one? The look is a function of a node's number. One TAP assertion.
sub all_look
{
	my ($self, $look, $expected, $name, @members) = @_;
	my %seen;
	for (1 .. 300)
	{
		%seen = map { $look->($_) => 1 } @members;
		last if keys %seen == 1 && $seen{$expected};
		sleep 0.1;
	}
	is(CORE::join("\n", sort keys %seen), $expected, $name);
}

# All replicated tables, as text, row by row, equal on all nodes? One TAP assertion.
sub is_identical
{
	my ($self, $name, @members) = @_;
	@members = 1 .. $self->size unless @members;
	my @tables = split /\n/, $self->sql($members[0],
		'SELECT "table" FROM replication_plugin.tables WHERE replicated ORDER BY "table"::text');
	push @tables, map { "replication_plugin.$_" } qw(member member_ready removal topology_setting table_setting);
	my @different;
	my $rows = 0;
	for my $table (@tables)
	{
		my $reference;
		for my $i (@members)
		{
			my $dump = $self->sql($i,
				"SET extra_float_digits = 3; SELECT x::text FROM $table x ORDER BY x::text COLLATE \"C\"");
			$reference //= $dump;
			if ($dump ne $reference)
			{
				push @different, "$table on node $i";
				my %a = map { $_ => 1 } split /\n/, $reference;
				my %b = map { $_ => 1 } split /\n/, $dump;
				my @lack = grep { !$b{$_} } sort keys %a;
				my @more = grep { !$a{$_} } sort keys %b;
				diag(sprintf "%s: node %d lacks %d rows, has %d others", $table, $i, scalar @lack, scalar @more);
				diag("  lacks $_") for map { substr $_, 0, 200 } splice @lack, 0, 5;
				diag("  has   $_") for map { substr $_, 0, 200 } splice @more, 0, 5;
			}
		}
		$rows += () = $reference =~ /^/mg if length $reference;
	}
	$self->dump_state if @different;
	is(CORE::join(', ', @different), '', "$name: identical on nodes @members ($rows rows in " . @tables . ' tables)');
}

# The siblings of all rows of a table that have several, the same on all nodes? One TAP assertion.
sub is_same_siblings
{
	my ($self, $table, $name, @members) = @_;
	@members = 1 .. $self->size unless @members;
	my $query = "SELECT string_agg(u.row_key::text || ' ' || s.version || ' ' || s.deleted || ' ' || coalesce(left(s.\"row\"::text, 60), '') || ' ' || md5(s::text),
			E'\n' ORDER BY u.row_key::text, s.place)
		FROM replication_plugin.unresolved u, LATERAL replication_plugin.siblings('$table', u.row_key)
			WITH ORDINALITY s(version, node, written_at, deleted, \"row\", place) WHERE u.\"table\" = '$table'::regclass";
	my %seen;
	push @{ $seen{ $self->sql($_, $query) } }, $_ for @members;
	is(scalar keys %seen, 1, "$name: the same siblings everywhere")
		or diag(CORE::join("\n", map { "nodes @{ $seen{$_} }:\n$_" } keys %seen));
}

# ---------- faults ----------

# Links stop taking changes, all, so that what is written on different nodes is concurrent; and go on. Just after a start of a
# server the view links has no rows yet: so they are named by the members.
sub pause_all
{
	my ($self) = @_;
	for my $i (1 .. $self->size)
	{
		$self->sql($i, "SELECT replication_plugin.pause_link(node_name) FROM replication_plugin.nodes WHERE NOT is_local AND state = 'ready'");
	}
	$self->poll($_, "SELECT bool_and(state = 'paused') FROM replication_plugin.links") || die "links do not pause" for 1 .. $self->size;
}

sub resume_all
{
	my ($self) = @_;
	$self->sql($_, "SELECT replication_plugin.resume_link(node_name) FROM replication_plugin.nodes WHERE NOT is_local AND state = 'ready'") for 1 .. $self->size;
	$self->poll($_, "SELECT NOT EXISTS (SELECT FROM replication_plugin.links WHERE state = 'paused')") for 1 .. $self->size;
	$self->wait_converged;
}

# Writes that do not know of each other: [node, SQL], ...; then all links go on.
sub concurrently
{
	my ($self, @writes) = @_;
	$self->pause_all;
	$self->sql(@$_) for @writes;
	$self->resume_all;
}

# kill -9 of a process of a server. When this returns, the server knows: it takes no new session before all its processes are gone.
sub kill9_process
{
	my ($pid) = @_;
	kill 'KILL', $pid;
	my $deadline = time() + 60;
	sleep 0.005 while kill(0, $pid) && time() < $deadline;
}

# kill -9 of one process of a node, by its kind. Returns its pid, or nothing.
sub kill_one
{
	my ($self, $i, $kind) = @_;
	my $where = $kind eq 'walsender' ? "backend_type = 'walsender'" : "backend_type LIKE 'replication_plugin $kind%'";
	my ($status, $pid) = $self->try_sql($i,
		"SELECT pid FROM pg_stat_activity WHERE $where ORDER BY random() LIMIT 1", 'postgres');
	return unless $status == 0 && $pid =~ /^\d+$/;
	kill9_process($pid);
	return $pid;
}

# kill -9 of a server and all its processes at once; start_server() brings it back.
sub kill9_server
{
	my ($self, $i) = @_;
	my ($postmaster) = PostgreSQL::Test::Utils::slurp_file($self->node($i)->data_dir . '/postmaster.pid') =~ /^(\d+)/;
	my @children = split ' ', `ps -o pid= --ppid $postmaster`;
	$self->node($i)->kill9;
	kill 'KILL', @children;
	# until somebody has taken note of its death, it counts as running
	my $deadline = time() + 60;
	sleep 0.02 while kill(0, $postmaster) && time() < $deadline;
}

# Immediate stop of a whole server; start_server() brings it back.
sub kill_server
{
	my ($self, $i) = @_;
	$self->node($i)->stop('immediate', fail_ok => 1);
}

sub start_server
{
	my ($self, $i) = @_;
	for my $try (1 .. 20)
	{
		return if $self->with_clock($self->node($i), sub { eval { $self->node($i)->start(fail_ok => 1) } });
		sleep 0.2;
	}
	die "node $i does not start";
}

# ---------- the proxy ----------

# A process that listens where the node's dsn leads and hands everything on to the node. While
# the file "cut" is there, connections are closed and no new ones are taken.
sub start_proxy
{
	my ($self, $i) = @_;
	my $node = $self->node($i);
	my $dir = PostgreSQL::Test::Utils::tempdir_short();
	my $listen = sprintf('%s/.s.PGSQL.%d', $dir, $node->port);
	my $target = sprintf('%s/.s.PGSQL.%d', $node->host, $node->port);
	my $server = IO::Socket::UNIX->new(Local => $listen, Listen => 100) or die "proxy: $!";
	my $pid = fork() // die "fork: $!";
	if ($pid == 0)
	{
		eval { run_proxy($server, $target, "$dir/cut") };
		require POSIX;
		POSIX::_exit(0);
	}
	close $server;
	$self->{proxies}[ $i - 1 ] = { pid => $pid, dir => $dir };
	my $base = $node->basedir;
	if (open my $fh, '>', "$base/node.proxy.pid") { print $fh $pid; close $fh; }
}

sub run_proxy
{
	my ($server, $target, $cutfile) = @_;
	my $parent = getppid();
	my $select = IO::Select->new($server);
	local $SIG{CHLD} = 'IGNORE';
	while (getppid() == $parent)
	{
		next unless $select->can_read(0.05);
		my $client = $server->accept or next;
		# a process for each connection: one that is not read must not hold up another
		if (!-e $cutfile && defined(my $pid = fork()))
		{
			if ($pid == 0)
			{
				close $server;
				relay($client, $target, $cutfile, $parent);
				require POSIX;
				POSIX::_exit(0);
			}
		}
		close $client;
	}
}

# Hands data over in both directions until one side closes, or the node is cut off.
sub relay
{
	my ($client, $target, $cutfile) = @_;
	my $proxy = getppid();
	my $back = IO::Socket::UNIX->new(Peer => $target) or return;
	my %peer = ($client => $back, $back => $client);
	my $select = IO::Select->new($client, $back);
	local $SIG{PIPE} = 'IGNORE';
	while (getppid() == $proxy && !-e $cutfile)
	{
		for my $s ($select->can_read(0.05))
		{
			my $n = sysread($s, my $data, 65536) or return;
			my $off = 0;
			while ($off < $n)
			{
				return if -e $cutfile;
				next unless IO::Select->new($peer{$s})->can_write(0.05);
				my $w = syswrite($peer{$s}, $data, $n - $off, $off) or return;
				$off += $w;
			}
		}
	}
}

# Cuts nodes off from all others, or lets them talk again.
sub cut
{
	my ($self, @which) = @_;
	for my $i (@which) { open my $fh, '>', "$self->{proxies}[$i - 1]{dir}/cut" or die; close $fh; }
}

sub heal
{
	my ($self, @which) = @_;
	unlink "$self->{proxies}[$_ - 1]{dir}/cut" for @which;
}

# ---------- links that are held, load in the background, nodes that are out ----------

# Holds links of a subscriber: it takes nothing from these providers until resume().
sub pause
{
	my ($self, $subscriber, @providers) = @_;
	for my $p (@providers)
	{
		$self->sql($subscriber, "SELECT replication_plugin.pause_link('node$p')");
		$self->poll($subscriber, "SELECT state FROM replication_plugin.links WHERE provider = 'node$p'", 'paused')
			or die "the link from node $p to node $subscriber does not rest";
	}
}

sub resume
{
	my ($self, $subscriber, @providers) = @_;
	$self->sql($subscriber, "SELECT replication_plugin.resume_link('node$_')") for @providers;
	# Who pauses it again must not take the pause that was for the new one. Where no manager runs, links stay as they are.
	my $names = CORE::join(', ', map { "'node$_'" } @providers);
	$self->poll($subscriber, "SELECT NOT EXISTS (SELECT FROM replication_plugin.links WHERE state = 'paused' AND provider IN ($names))
		OR replication_plugin.manager_pid() IS NULL");
}

# Runs a program in the background; its output goes to a file, if named. Returns its pid.
sub spawn
{
	my ($self, $output, @command) = @_;
	my $pid = fork() // die "fork: $!";
	return $pid if $pid;
	open STDOUT, '>', $output || '/dev/null';
	open STDERR, '>&', \*STDOUT;
	require POSIX;
	exec(@command) or POSIX::_exit(127);
}

# SQL on a node in the background; wait for it with waitpid.
sub spawn_sql
{
	my ($self, $i, $sql, $output) = @_;
	return $self->spawn($output, 'psql', '-XAtq', '-v', 'ON_ERROR_STOP=1', '-h', $self->node($i)->host, '-p',
		$self->node($i)->port, '-d', 'app', '-c', $sql);
}

# pgbench on nodes until stop_load(): a script with the variable :side, the node's index; transactions per second
# on each. Returns the processes.
sub start_load
{
	my ($self, $script, $rate, @nodes) = @_;
	my $file = PostgreSQL::Test::Utils::tempdir_short() . '/load.sql';
	open my $fh, '>', $file or die "$file: $!";
	print $fh $script;
	close $fh;
	return map { $self->spawn(undef, 'pgbench', '-n', '-h', $self->node($_)->host, '-p', $self->node($_)->port, '-U', $self->user,
		'-c', 2, '-T', 600, '-R', $rate, '-D', "side=$_", '--random-seed=' . int(rand(1e9)), '-f', $file, 'app') } @nodes;
}

sub stop_load
{
	my ($self, @pids) = @_;
	kill 'INT', @pids;
	waitpid $_, 0 for @pids;
}

# A node that is out takes part again.
sub rejoin
{
	my ($self, $i) = @_;
	$self->sql($i, 'SELECT replication_plugin.rejoin()');
	return if $self->sql($i, "SELECT replication_plugin.wait_until_ready('240 seconds')") eq 't';
	diag($self->sql($i, 'SELECT * FROM replication_plugin.nodes'));
	die "node $i does not get ready again";
}

# An empty database in place of the one that was a member: the server can join anew.
sub fresh_database
{
	my ($self, $i) = @_;
	$self->sql($i, 'SELECT replication_plugin.leave_group()');
	$self->sql($i, 'DROP EXTENSION replication_plugin');
	# the manager ends by itself, and so do sessions of the others; DROP DATABASE waits for five seconds
	$self->poll($i, "SELECT count(*) FROM pg_stat_activity WHERE datname = 'app'", 0, undef, 'postgres');
	$self->sql($i, 'DROP DATABASE app', 'postgres');
	$self->sql($i, 'CREATE DATABASE app', 'postgres');
	$self->sql($i, 'CREATE EXTENSION replication_plugin');
}

# True once a node has been told that it is out: in its view of itself, or of its links.
sub is_told
{
	my ($self, $i, $like, $state) = @_;
	return $self->poll($i, "SELECT (SELECT state FROM replication_plugin.nodes WHERE is_local) = '$state'
		AND (EXISTS (SELECT FROM replication_plugin.links WHERE last_error ~ '$like')
		OR EXISTS (SELECT FROM replication_plugin.nodes WHERE is_local AND progress ~ '$like'))");
}

# Local writes of all kinds to a replicated table with the columns (id, v) fail: one TAP assertion.
sub writes_refused
{
	my ($self, $i, $table, $state, $name) = @_;
	my @accepted;
	for my $sql ("INSERT INTO $table (id, v) VALUES (-1, 'x')", "UPDATE $table SET v = 'x'", "DELETE FROM $table",
		"COPY $table (id, v) FROM stdin;\n-1\tx\n\\.\n", "TRUNCATE $table",
		"WITH w AS (INSERT INTO $table (id, v) VALUES (-1, 'x') RETURNING id) SELECT count(*) FROM w",
		"DO \$\$ BEGIN DELETE FROM $table; END \$\$")
	{
		my ($status, undef, $err) = $self->try_sql($i, "\\set VERBOSITY verbose\n$sql");
		push @accepted, "$sql: $err"
			unless $status != 0 && $err =~ /55000: node "node$i" is not ready for writes: $state/;
	}
	is(CORE::join("\n", @accepted), '', $name);
}

sub DESTROY
{
	my ($self) = @_;
	return if $self->{parent} != $$;
	kill 'KILL', $_->{pid} for grep { $_ } @{ $self->{proxies} };
}

1;
