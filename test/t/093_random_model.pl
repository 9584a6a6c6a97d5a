# Random writes on three nodes, of every conflict policy and every column merge at once, checked against a model (Model.pm).
#
# In most rounds all links rest while the nodes write, so that it is known what each write had seen, and what must show
# is known exactly. In the others links run, or some of them: then the model knows less, and checks what it knows.
# Servers and link workers are killed now and then, while nodes write and while they catch up.
# SECONDS_OF_LOAD: how long.
use strict;
use warnings;
use JSON::PP;
use Mesh;
use Model;
use Test::More;
use Time::HiRes qw(time sleep);

my $KEYS = 8;
my %policy = (lww => 'last_write_wins', sib => 'siblings', hand => 'handler', prio => 'node_priority', first => 'first_write_wins');
my @mergeable = qw(sib hand prio first);
my @merged = qw(merged merged_sib);
my $seconds = $ENV{SECONDS_OF_LOAD} || 40;
my $json = JSON::PP->new->canonical->allow_nonref;

my $mesh = Mesh->new(3, conf => "replication_plugin.frontier_interval = 200ms\n");    # what all have is forgotten early
my %node_id;
my %rank;         # of node numbers, for node_priority
my %siblings;     # table, key: the siblings on all nodes after the last round
my %newest;       # key: the newest write of table lww
my %rows;         # table, key: the row of a table with merged columns after the last round
my %contexts;     # table, key: what a client read once: [text, siblings]
my $round = 0;
my %done = map { $_ => 0 } qw(exact_rounds live_rounds transactions writes with_context refused refused_here servers_killed workers_killed unacknowledged siblings);

sub make_tables
{
	my $columns = '(id int PRIMARY KEY, n int NOT NULL, x numeric NOT NULL, tags text[] NOT NULL, attrs jsonb NOT NULL, note text NOT NULL, other text NOT NULL)';
	$mesh->make_group(join '', (map { "CREATE TABLE $_ (id int PRIMARY KEY, v text);" } sort keys %policy),
		(map { "CREATE TABLE $_ $columns;" } @merged), 'CREATE TABLE done (token text PRIMARY KEY, round int);', 'CREATE INDEX ON done (round)');
	$mesh->all_sql("CREATE FUNCTION concatenate(older hand, newer hand) RETURNS hand LANGUAGE plpgsql AS
		\$\$ BEGIN newer.v := older.v || '+' || newer.v; RETURN newer; END \$\$");
	$mesh->sql(1, "SELECT replication_plugin.set_node_priority('{node2,node3}')");
	$mesh->sql(1, "SELECT replication_plugin.set_conflict_policy('$_', '$policy{$_}'" . ($_ eq 'hand' ? ", 'concatenate(hand,hand)')" : ')')) for @mergeable;
	my %merge = (n => 'counter', x => 'counter', tags => 'set', attrs => 'map', note => 'last_write_wins');
	for my $table (@merged)
	{
		$mesh->sql(1, "SELECT replication_plugin.set_column_merge('$table', '$_', '$merge{$_}')") for sort keys %merge;
	}
	$mesh->sql(1, "SELECT replication_plugin.set_conflict_policy('merged_sib', 'siblings')");
	$mesh->wait_converged;
	$node_id{$_} = $mesh->sql(1, "SELECT node_id FROM replication_plugin.nodes WHERE node_name = 'node$_'") for 1 .. 3;
	@rank{ @node_id{ 2, 3, 1 } } = (0, 1, 2);
	for my $table (@mergeable) { $siblings{$table}{$_} = [] for 1 .. $KEYS; }
}

# ---------- random writes ----------

sub pick { return $_[ rand @_ ]; }
sub any_key { return 1 + int($KEYS * rand() ** 2); }    # the first ones are written most
sub chance { return rand() < $_[0]; }

my $op_count = 0;

# One write of a table with a policy. Prints "O op value" if it takes place; a value of "-" is a delete.
sub policy_write
{
	my ($table, $key, $live, $context) = @_;
	my $op = { id => ++$op_count, table => $table, key => $key, kind => 'put', v => "w$op_count" };
	my $says = "'O|$op->{id}|' ||";
	my $put = "INSERT INTO $table VALUES ($key, '$op->{v}') ON CONFLICT (id) DO UPDATE SET v = excluded.v RETURNING $says v";
	my @ways = ($put, $put, "UPDATE $table SET v = '$op->{v}' WHERE id = $key RETURNING $says v",
		"UPDATE $table SET v = '$op->{v}' WHERE id = $key RETURNING $says v", "DELETE FROM $table WHERE id = $key RETURNING $says '-'",
		"INSERT INTO $table VALUES ($key, '$op->{v}') ON CONFLICT DO NOTHING RETURNING $says v");
	# resolve() without a context replaces all, whatever the session's context says
	push @ways, "SELECT replication_plugin.resolve('$table', '{\"id\": $key}', '{\"v\": \"$op->{v}\"}'); SELECT $says '$op->{v}'"
		if $table ne 'lww' && !$context;
	$op->{sql} = pick(@ways);
	# a change of the key; not where links run: the new key could be there in the next moment
	move($op, "$says v") if !$live && !$context && chance(0.07);
	return $op;
}

# Makes an operation one that gives a row another key.
sub move
{
	my ($op, $says) = @_;
	$op->{kind} = 'move';
	$op->{to} = 1 + $op->{key} % $KEYS;
	$op->{sql} = "UPDATE $op->{table} SET id = $op->{to} WHERE id = $op->{key} AND NOT EXISTS (SELECT FROM $op->{table} WHERE id = $op->{to}) RETURNING $says";
}

# How one column of a merged row can change.
sub column_changes
{
	my ($v) = @_;
	my ($e, $k, $m) = ('e' . int rand 4, pick(qw(a b c)), pick(qw(x y)));
	return ('n = n + ' . (int(rand 11) - 5), 'x = x - ' . int(rand 9) * 0.25,
		"tags = CASE WHEN '$e' = ANY (tags) THEN tags ELSE tags || '$e'::text END", "tags = array_remove(tags, '$e')",
		pick("attrs = attrs || '{\"$k\": \"$v\"}'", "attrs = attrs || '{\"$k\": {\"$m\": \"$v\"}}'", "attrs = jsonb_set(attrs, '{$k,$m}', '\"$v\"')",
			"attrs = attrs - '$k'", "attrs = attrs #- '{$k,$m}'", "attrs = attrs || '{\"$k\": {}}'"),
		"note = '$v'", "other = '$v'");
}

# One write of a row with merged columns. Prints the row as it was ("B") and as it was written ("O"). While links run rows
# only change, so that what their counters must show is known.
sub merged_write
{
	my ($table, $key, $live, $way) = @_;
	my $op = { id => ++$op_count, table => $table, key => $key };
	my $says = "'O|$op->{id}|' || to_jsonb($table)::text";
	my %set;
	for (1 .. 3) { my $change = pick(column_changes("w$op_count")); $set{ (split ' ', $change)[0] } = $change; }
	my $update = "SELECT 'B|$op->{id}|' || to_jsonb(m)::text FROM $table m WHERE id = $key FOR UPDATE; UPDATE $table SET "
		. join(', ', map { $set{$_} } sort keys %set) . " WHERE id = $key RETURNING $says";
	my $insert = sprintf "INSERT INTO $table VALUES ($key, %d, %s, '{e%d,f%d}', '{\"%s\": \"w$op_count\", \"d\": {\"x\": \"w$op_count\"}}', 'w$op_count', 'w$op_count')
		ON CONFLICT DO NOTHING RETURNING $says", rand 100, int(rand 9) / 4, rand 4, rand 3, pick(qw(a b));
	$way ||= $live ? 'update' : pick(('update') x 8, ('insert') x 3, 'delete', 'move');
	$op->{kind} = $way;
	$op->{sql} = $way eq 'update' ? $update : $way eq 'insert' ? $insert : "DELETE FROM $table WHERE id = $key RETURNING 'O|$op->{id}|-'";
	move($op, $says) if $way eq 'move';
	return $op;
}

# A row is changed, deleted and made anew; what its columns have seen then is all of their earlier life.
sub rebirth
{
	my ($table, $key) = (pick(@merged), any_key());
	my @ops = map { merged_write($table, $key, 0, $_) } 'update', 'delete', 'insert', 'update';
	return chance(0.5) ? transaction(@ops) : join '', map { transaction($_) } @ops;
}

# A transaction with a context does one write: it replaces what a client had read before, here or elsewhere.
sub context_transaction
{
	my ($table, $key, $live) = @_;
	my $op = policy_write($table, $key, $live, 1);
	my $old = $contexts{$table}{$key};
	my ($before, $text) = ('', "'none'");
	$op->{context} = [];
	if ($old && chance(0.4))
	{
		($text, $op->{context}) = ("'$old->[0]'", $old->[1]);
	}
	elsif (chance(0.7))
	{
		# read now, on this node; between reading and writing it writes something else
		$before = read_context($table, $key, $op->{id}) . transaction(policy_write($table, $key, $live));
		($text, $op->{context}) = (":'c$op->{id}'", $op->{id});
	}
	return $before . transaction($op, $text);
}

# A client reads a row's context: "C op table key text".
sub read_context
{
	my ($table, $key, $id) = @_;
	return "SELECT replication_plugin.causal_context('$table', '{\"id\": $key}') AS c$id \\gset\n\\echo C|$id|$table|$key|:c$id\n";
}

my %op;            # of this round, by number
my $linger = 0;    # before a commit, at most, so that a kill comes in between; s

# SQL of one transaction: "T token", its writes, and "A token" when it is acknowledged, "Z token" when it is rolled back.
# Its token is in table "done" if it has committed.
sub transaction
{
	my ($first, @more) = @_;
	my $context = @more && !ref $more[0] ? shift @more : undef;
	my $token = "t$first->{id}";
	$op{ $_->{id} } = $_ for $first, @more;
	my $sql = "\\echo T|$token\n" . ($context ? "\\set ON_ERROR_STOP 0\n" : '') . "BEGIN;\n";
	$sql .= $context ? "SET LOCAL replication_plugin.causal_context = $context;\n"
		: chance(0.05) ? "SAVEPOINT s; UPDATE sib SET v = 'junk'; UPDATE merged SET n = 0, tags = '{}'; ROLLBACK TO s;\n" : '';
	$sql .= "$_->{sql};\n" for $first, @more;
	$sql .= sprintf "SELECT pg_sleep(%.3f);\n", rand $linger if $linger;
	return "${sql}ROLLBACK;\n\\echo Z|$token\n" if !$context && chance(0.05);
	$sql .= "INSERT INTO done VALUES ('$token', $round);\nCOMMIT;\n";
	return $sql . "\\echo A|$token\n" if !$context;
	# a context is refused if what it names has just been replaced here and is not known to be seen yet: that is no error
	return $sql . "\\set ON_ERROR_STOP 1\nSELECT count(*) AS n FROM done WHERE token = '$token' \\gset\n\\if :n\n\\echo A|$token\n\\else\n\\echo Z|$token\n\\endif\n";
}

# What one node does in a round; slowly, so that links, or a fault, can come in between.
sub script
{
	my ($live, $slow) = @_;
	my $sql = '';
	for (1 .. 6 + int rand 12)
	{
		my $one = sub { chance(0.4) ? merged_write(pick(@merged), any_key(), $live) : policy_write(pick(sort keys %policy), any_key(), $live) };
		# while links run one write each: else a deadlock with what arrives could take its locks
		$sql .= chance(0.25) ? context_transaction(pick(@mergeable), any_key(), $live)
			: transaction(map { $one->() } 1 .. ($live ? 1 : pick(1, 1, 1, 2, 3)));
		$sql .= rebirth() if !$live && chance(0.1);
		$sql .= sprintf "SELECT pg_sleep(%.3f);\n", rand 0.1 if $slow;
	}
	return $sql . read_context(pick(@mergeable), any_key(), ++$op_count);
}

# ---------- the model follows what has happened ----------

# What a node's session did that stayed, in order: transactions ["T", token, lines...], and reads ["C", op, table, key, text].
sub committed
{
	my ($node, $output, $versions, $problems) = @_;
	my (@list, $open);
	for my $line (grep { /^[TABCOZ]\|/ } split /\n/, $output)
	{
		my ($letter, @fields) = split /\|/, $line, 5;
		$open = [ 'T', @fields ] if $letter eq 'T';
		push @$open, [ $letter, @fields ] if $letter =~ /[BO]/;
		push @list, [ $letter, @fields ] if $letter eq 'C';
		push @list, $open if $letter eq 'A';
		$open = undef if $letter =~ /[AZ]/;
		push @$problems, "transaction $fields[0] was acknowledged on node $node and is lost" if $letter eq 'A' && !$versions->{ $fields[0] };
	}
	# the last one may have been cut off: it has committed, or it has not
	$done{unacknowledged}++ if $open;
	push @list, $open if $open && $versions->{ $open->[1] };
	return @list;
}

# The writes of one operation: a change of the key is two.
sub writes_of
{
	my ($op, $before, $after, $common) = @_;
	my ($old, $new) = map { defined $_ && /^\{/ ? $json->decode($_) : undef } $before, $after;
	my %delete = (%$common, key => $op->{key}, kind => 'delete', deleted => 1);
	my %put = (%$common, key => $op->{to} || $op->{key}, v => $after, old => $old, new => $new, context => $op->{context},
		kind => $op->{kind} eq 'move' ? 'insert' : $op->{kind});
	return ({%delete}, {%put}) if $op->{kind} eq 'move';
	return $after eq '-' ? { %delete, context => $op->{context} } : \%put;
}

# A client has read a row's context on a node that has these siblings.
sub follow_read
{
	my ($live, $here, $table, $key, $text, $problems) = @_;
	my $siblings = Model::readable($here);
	my $expected = join(',', map { "$_->{node}:$_->{ts}" } reverse Model::oldest_first(@$siblings)) || 'none';
	push @$problems, "$table $key: the context is $text, should be $expected" if !$live && $text ne $expected;
	$contexts{$table}{$key} = [ $text, $siblings ];
	return $siblings;
}

# Turns what a node's session printed into writes.
sub follow
{
	my ($live, $node, $output, $versions, $problems) = @_;
	my (%here, @writes, %read);
	my $seq = 0;
	for my $event (committed($node, $output, $versions, $problems))
	{
		my ($letter, $token, @rest) = @$event;
		if ($letter eq 'C')
		{
			my ($table, $key, $text) = @rest;
			$read{$token} = follow_read($live, $here{$table}{$key} || $siblings{$table}{$key}, $table, $key, $text, $problems);
			next;
		}
		$done{transactions}++;
		my $ts = delete $versions->{$token} || 0;
		for my $write (writes_of_transaction(\%read, { node => $node_id{$node}, token => $token, ts => $ts }, @rest))
		{
			my ($table, $key) = ($write->{table}, $write->{key});
			$write->{seq} = ++$seq;
			push @writes, $write;
			$here{$table}{$key} = Model::write_sibling($here{$table}{$key} || $siblings{$table}{$key}, $write) if $siblings{$table};
		}
	}
	$done{writes} += @writes;
	return @writes;
}

# The lines "B op row" and "O op row" of a transaction as writes.
sub writes_of_transaction
{
	my ($read, $common, @lines) = @_;
	my (%before, @writes);
	for my $line (@lines)
	{
		my ($letter, $id, $text) = @$line;
		$before{$id} = $text if $letter eq 'B';
		next if $letter eq 'B';
		my $op = $op{$id};
		$op->{context} = $read->{ $op->{context} } if defined $op->{context} && !ref $op->{context};
		$done{with_context}++ if $op->{context};
		push @writes, writes_of($op, $before{$id}, $text, { %$common, table => $op->{table} });
	}
	return @writes;
}

# ---------- checks ----------

# All that a node shows: rows ("R", "M"), siblings ("S"), and which transactions of this round it has, with their versions ("D").
sub dump_sql
{
	my $version = "((extract(epoch FROM pg_xact_commit_timestamp(d.xmin)) * 1000000)::bigint - 946684800000000)";
	my @parts = ((map { "SELECT 'R|$_|' || id || '|' || v FROM $_" } sort keys %policy), (map { "SELECT 'M|$_|' || id || '|' || to_jsonb(m)::text FROM $_ m" } @merged),
		"SELECT 'D|' || token || '|' || $version FROM done d WHERE round = $round");
	push @parts, "SELECT 'S|$_|' || k || '|' || (1000 - s.place) || '|' || s.version || '|' || s.deleted || '|' || coalesce(s.\"row\" ->> 'v', md5(s.\"row\"::text), '-')
		FROM generate_series(1, $KEYS) k, LATERAL replication_plugin.siblings('$_', jsonb_build_object('id', k))
			WITH ORDINALITY s(version, node, written_at, deleted, \"row\", place)" for @mergeable, 'merged_sib';
	return 'SELECT line FROM (' . join(' UNION ALL ', @parts) . ') d(line) ORDER BY line COLLATE "C"';
}

# What a dump says.
sub read_dump
{
	my ($dump) = @_;
	my (%shown, %kept, %versions);
	for my $line (split /\n/, $dump)
	{
		my ($letter, @f) = split /\|/, $line, 7;
		$shown{ $f[0] }{ $f[1] } = $f[2] if $letter eq 'R';
		$shown{ $f[0] }{ $f[1] } = $json->decode($f[2]) if $letter eq 'M';
		$versions{ $f[0] } = $f[1] if $letter eq 'D';
		push @{ $kept{ $f[0] }{ $f[1] } }, "$f[3] $f[4] $f[5]" if $letter eq 'S';
	}
	return (\%shown, \%kept, \%versions);
}

# A sibling as the dump has it.
sub sibling_text
{
	my ($s) = @_;
	return "$s->{node}:$s->{ts} " . ($s->{deleted} ? 'true -' : "false $s->{v}");
}

sub writes_text
{
	return join '', map { my $w = $_; "\n    " . join ' ', map { "$_=" . (ref $w->{$_} ? $json->encode($w->{$_}) : $w->{$_}) }
		grep { defined $w->{$_} && !/^(difference|context|table|key)$/ } sort keys %$w } Model::oldest_first(@_);
}

# The siblings must be the writes that no other write has seen.
sub check_siblings
{
	my ($table, $key, $kept, @writes) = @_;
	my @expected = grep { !$_->{replaced} } @{ $siblings{$table}{$key} }, @writes;
	my $found = join ', ', @{ $kept || [] };
	my $wanted = join ', ', map { sibling_text($_) } Model::oldest_first(@{ Model::readable(\@expected) });
	$done{siblings} += @expected > 1;
	$siblings{$table}{$key} = \@expected;
	return if $found eq $wanted;
	return "$table $key: siblings are $found, should be $wanted; writes:" . writes_text(@writes);
}

# Links were running, so it is not known what each write had seen. But: siblings are writes that were made, with their
# values; the newest write is one; and none is a write that one without a context had seen: those of its own node, and
# what was there before the round.
sub check_live_siblings
{
	my ($table, $key, $kept, @writes) = @_;
	my %known = map { sibling_text($_) => $_ } @{ $siblings{$table}{$key} }, @writes;
	my $newest = Model::newest(values %known);
	my @kept = $kept ? @$kept : $newest ? (sibling_text($newest)) : ();
	my @wrong = grep { !$known{$_} } @kept;
	push @wrong, 'no newest' if $newest && !grep { $_ eq sibling_text($newest) } @kept;
	push @wrong, 'nothing, and the newest write is no delete' if !$kept && $newest && !$newest->{deleted};
	$siblings{$table}{$key} = [ map { $known{$_} || () } @kept ];
	for my $s (@{ $siblings{$table}{$key} })
	{
		push @wrong, sibling_text($s) . ' was replaced' if grep { !$_->{context} && ($s->{before} || Model::had_seen($_, $s)) } @writes;
		$s->{replaced} = 0;
	}
	# the model does not know what a client has read, but by the text
	my $read = $contexts{$table}{$key};
	$read->[1] = [ grep { my $v = "$_->{node}:$_->{ts}"; grep { $_ eq $v } split /,/, $read->[0] } @{ $siblings{$table}{$key} } ] if $read;
	return if !@wrong;
	return "$table $key: wrong siblings: " . join(', ', @wrong) . ' of ' . join(', ', @kept) . '; writes:' . writes_text(@writes);
}

sub check_policy
{
	my ($table, $key, $shown, @candidates) = @_;
	my $expected = Model::shown_sibling($policy{$table}, \%rank, @candidates) // '(no row)';
	$shown //= '(no row)';
	return if $shown eq $expected;
	return "$table $key: shows $shown, should show $expected; of:" . writes_text(@candidates);
}

sub check_merged
{
	my ($table, $key, $shown, @writes) = @_;
	my ($found, $wanted) = map { Model::row_text($_) } $shown, scalar Model::merged_row($rows{$table}{$key}, @writes);
	my $base = Model::row_text($rows{$table}{$key});
	return if $found eq $wanted;
	return "$table $key:\n    shows  $found\n    should $wanted\n    before $base; writes:" . writes_text(@writes);
}

# Of a set while links were running: what nobody removed is there, and nothing that nobody added.
sub check_live_set
{
	my ($base, $shown, @writes) = @_;
	my (%added, %removed);
	for my $w (@writes)
	{
		my ($old, $new) = map { my %h = map { $_ => 1 } @{ $w->{$_}{tags} }; \%h } 'old', 'new';
		$added{$_} = 1 for grep { !$old->{$_} } keys %$new;
		$removed{$_} = 1 for grep { !$new->{$_} } keys %$old;
	}
	my %there = map { $_ => 1 } @{ $shown->{tags} };
	$added{$_} = 1 for @{ $base->{tags} };
	return ((map { "element $_ is lost" } grep { !$removed{$_} && !$there{$_} } sort keys %added),
		(map { "element $_ is from nowhere" } grep { !$added{$_} } sort keys %there));
}

# Links were running, and rows were changed, neither made nor deleted.
sub check_live_merged
{
	my ($table, $key, $shown, @writes) = @_;
	my $base = $rows{$table}{$key};
	return if !$base && !$shown && !@writes;
	return "$table $key: came or went" if !$base || !$shown;
	my @wrong;
	for my $column ('n', 'x')
	{
		push @wrong, "$column is $shown->{$column}" if $shown->{$column} != Model::counter($base, $column, @writes);
	}
	push @wrong, "note is $shown->{note}" if $shown->{note} ne Model::last_write($base, 'note', @writes);
	push @wrong, "other is $shown->{other}" if @writes && $shown->{other} ne Model::newest(@writes)->{new}{other};
	push @wrong, check_live_set($base, $shown, @writes);
	return if !@wrong;
	return "$table $key: " . join(', ', @wrong) . ":\n    shows  " . Model::row_text($shown) . "\n    before " . Model::row_text($base) . '; writes:' . writes_text(@writes);
}

# Compares what the nodes show with the model, which then goes on from there. Returns what is wrong.
sub check_model
{
	my ($live, $outputs, $dump) = @_;
	my ($shown, $kept, $versions) = read_dump($dump);
	my @problems;
	my %writes;
	for my $node (1 .. 3)
	{
		push @{ $writes{ $_->{table} }{ $_->{key} } }, $_ for follow($live, $node, $outputs->[$node], $versions, \@problems);
	}
	push @problems, map { "transaction $_ is from nowhere" } sort keys %$versions;
	for my $key (1 .. $KEYS)
	{
		for my $table (@mergeable)
		{
			my @w = @{ $writes{$table}{$key} || [] };
			my $check = $live ? \&check_live_siblings : \&check_siblings;
			push @problems, $check->($table, $key, $kept->{$table}{$key}, @w);
			push @problems, check_policy($table, $key, $shown->{$table}{$key}, @{ $siblings{$table}{$key} });
			for (@w) { $_->{before} = 1; delete $_->{context}; }
		}
		$newest{$key} = Model::newest(@{ $writes{lww}{$key} || [] }) || $newest{$key};
		push @problems, check_policy('lww', $key, $shown->{lww}{$key}, $newest{$key} || ());
		for my $table (@merged)
		{
			my $check = $live ? \&check_live_merged : \&check_merged;
			push @problems, $check->($table, $key, $shown->{$table}{$key}, @{ $writes{$table}{$key} || [] });
			$rows{$table}{$key} = $shown->{$table}{$key};
		}
	}
	return @problems;
}

# A context that names a write which has not come to another node is refused there. Links rest.
sub check_refusal
{
	my ($outputs) = @_;
	my ($from, $to) = pick([ 1, 2 ], [ 2, 3 ], [ 3, 1 ])->@*;
	my ($table, $key, $context) = $outputs->[$from] =~ /.*^C\|\d+\|(\w+)\|(\d+)\|(\S+)$/ms or return;
	my %before = map { ("$_->{node}:$_->{ts}" => 1) } @{ $siblings{$table}{$key} };
	return if $context eq 'none' || !grep { !$before{$_} } split /,/, $context;
	my ($status, $out, $err) = $mesh->try_sql($to, "BEGIN; SET LOCAL replication_plugin.causal_context = '$context';
		INSERT INTO $table VALUES ($key, 'too early') ON CONFLICT (id) DO UPDATE SET v = excluded.v; COMMIT");
	$done{refused}++;
	return if $status != 0 && $err =~ /does not have all/;
	return "$table $key: node $to takes context $context of node $from, of which it does not have all: $err";
}

# ---------- faults ----------

# kill -9 of a whole server, or of one worker, which makes the server restart all its processes.
sub strike
{
	my ($node) = @_;
	if (chance(0.5))
	{
		$mesh->kill9_server($node);
		$mesh->start_server($node);
		$done{servers_killed}++;
	}
	elsif ($mesh->kill_one($node, 'link') || $mesh->kill_one($node, 'group'))
	{
		$done{workers_killed}++;
	}
	$mesh->poll($node, 'SELECT 1', 1) or die "node $node does not come back";
}

# Runs a round's scripts on all nodes at once; returns what they printed, by node, and what went wrong.
sub run_scripts
{
	my ($live, $struck) = @_;
	$linger = $struck ? 0.1 : 0;
	my @jobs = map { $mesh->start_sql($_, script($live, $live || $struck)) } 1 .. 3;
	if ($struck)
	{
		sleep(rand 0.5);
		strike($struck);
	}
	my (@outputs, @problems);
	for my $node (1 .. 3)
	{
		my ($out, $err) = $mesh->finish_sql($jobs[ $node - 1 ]);
		$outputs[$node] = $out;
		$done{refused_here} += $err =~ s/^psql:\S+ ERROR:  this node does not have all .*\nHINT:  .*\n(?:psql:\S+ ERROR:  current transaction is aborted.*\n)+//mg;
		push @problems, "node $node: $err" if length $err && $node != $struck;
	}
	return (\@outputs, @problems);
}

# ---------- rounds ----------

sub pause_links
{
	my ($live) = @_;
	return $mesh->pause_all if !$live;
	for my $to (1 .. 3)
	{
		for my $from (grep { $_ != $to } 1 .. 3) { $mesh->pause($to, $from) if chance(0.2); }
	}
}

sub run_round
{
	$round++;
	%op = ();
	# the first round makes rows, and knows what each write has seen
	my $live = $round > 1 && chance(0.3);
	my $fault = $round > 1 && chance(0.25) ? pick('writing', 'catching up') : '';
	pause_links($live);
	my ($outputs, @problems) = run_scripts($live, $fault eq 'writing' ? pick(1 .. 3) : 0);
	push @problems, check_refusal($outputs) if !$live;
	$mesh->sql($_, 'SELECT replication_plugin.resume_link(node_name) FROM replication_plugin.nodes WHERE NOT is_local') for 1 .. 3;
	if ($fault eq 'catching up')
	{
		sleep(rand 0.3);
		strike(pick(1 .. 3));
	}
	$mesh->wait_converged;
	$done{ $live ? 'live_rounds' : 'exact_rounds' }++;
	my $name = "round $round" . ($live ? ', links run' : '') . ($fault ? ", a kill while $fault" : '');
	return check_round($name, $live, $outputs, @problems);
}

# True if all nodes show the same, and what the model says.
sub check_round
{
	my ($name, $live, $outputs, @problems) = @_;
	my @dumps = map { $mesh->sql($_, dump_sql()) } 1 .. 3;
	my $same = $dumps[0] eq $dumps[1] && $dumps[0] eq $dumps[2];
	ok($same, "$name: all nodes show the same, with the same siblings and versions") or diag(differences(@dumps), "\n", history($outputs, differences(@dumps)));
	push @problems, check_model($live, $outputs, $dumps[0]);
	is(join("\n", @problems), '', "$name: as the model says");
	return $same && !@problems;
}

sub differences
{
	my @nodes = @_;
	my %count;
	$count{$_}++ for map { split /\n/ } @nodes;
	my @lines;
	for my $i (1 .. 3) { push @lines, map { "node $i: $_" } grep { $count{$_} < 3 } split /\n/, $nodes[ $i - 1 ]; }
	return join "\n", @lines;
}

# What the nodes' sessions did with the rows that differ, and the siblings of these.
sub history
{
	my ($outputs, $differences) = @_;
	my @lines;
	for my $row (do { my %seen; grep { !$seen{$_}++ } $differences =~ /[RSM]\|(\w+\|\d+)\|/g })
	{
		my ($table, $key) = split /\|/, $row;
		my @siblings = $mesh->sql(1, "SELECT * FROM replication_plugin.siblings('$table', '{\"id\": $key}')");
		push @lines, "siblings of $row:", map { split /\n/ } @siblings if $table ne 'lww';
		for my $node (1 .. 3)
		{
			for my $line (grep { /^[OC]\|(\d+)/ } split /\n/, $outputs->[$node])
			{
				my ($id) = $line =~ /^.\|(\d+)/;
				my $op = $op{$id};
				push @lines, "node $node: $line", '    ' . ($op->{context} ? 'with a context: ' : '') . $op->{sql}
					if $op && $op->{table} eq $table && ($op->{key} == $key || ($op->{to} || 0) == $key);
			}
		}
	}
	return join "\n", @lines;
}

sub check_all
{
	my ($name) = @_;
	$mesh->is_identical($name);
	$mesh->is_same_siblings($_, $name) for @mergeable, 'merged_sib';
}

make_tables();
Mesh::seed();
my $until = time() + $seconds;
my $good = 1;
# on a busy machine longer, until there was each kind of round
while ($good && (time() < $until || (!$done{live_rounds} && time() < $until + 300)))
{
	$good = run_round();
	check_all("round $round") if $round % 20 == 0;
}
check_all('at the end');
# (one may be blocked, or try something again, for a moment)
ok($mesh->poll($_, "SELECT count(*) FROM replication_plugin.links WHERE state IN ('streaming', 'catching up')", 2), "node $_: links go on") for 1 .. 3;
for my $what (qw(exact_rounds live_rounds writes with_context siblings)) { cmp_ok($done{$what}, '>', 0, "there were $what"); }
note("figures: $seconds s: " . join(', ', map { "$_ $done{$_}" } sort keys %done));
done_testing();
