# Random writes on three real servers, of tables under every conflict policy and every column merge at once, with servers killed in
# between, checked against what the definitions say. SECONDS_OF_LOAD=600 for ten minutes.
#
# In most rounds no link takes anything while writes are made: so it is known what each write had seen. Then all links go on, and each table
# must show on all nodes what the model says. In other rounds links run: then all nodes must agree, and nothing that was counted be lost.
use strict;
use warnings;
use List::Util qw(first sum0);
use Mesh;
use Test::More;

my $seed = Mesh::seed();
my $seconds = $ENV{SECONDS_OF_LOAD} || 60;
my @nodes = 1 .. 3;
my @keys = 1 .. 5;
my @priority = (2, 3, 1);
my @policies = qw(last_write_wins siblings handler node_priority first_write_wins);
my $mesh = Mesh->new(3);
$mesh->make_group(CORE::join('', map { "CREATE TABLE $_ (id int PRIMARY KEY, v text);" } @policies)
		. 'CREATE TABLE counters (id int PRIMARY KEY, n int, price numeric);
		CREATE TABLE sets (id int PRIMARY KEY, tags text[]);
		CREATE TABLE maps (id int PRIMARY KEY, doc jsonb);
		CREATE TABLE cells (id int PRIMARY KEY, a text, b text);');
$mesh->all_sql('CREATE FUNCTION joined(older handler, newer handler) RETURNS handler LANGUAGE sql AS $$ SELECT older.id, older.v || \'+\' || newer.v $$');
$mesh->sql(1, "INSERT INTO counters SELECT g, 0, 0 FROM generate_series(1, 5) g;
	INSERT INTO sets SELECT g, '{}' FROM generate_series(1, 5) g;
	INSERT INTO maps SELECT g, '{\"in\": {}}' FROM generate_series(1, 5) g;
	INSERT INTO cells SELECT g, '', '' FROM generate_series(1, 5) g");
$mesh->sql(1, "SELECT replication_plugin.set_node_priority('{node2,node3,node1}'), replication_plugin.set_conflict_policy('handler', 'handler', 'joined(handler,handler)')");
$mesh->sql(1, "SELECT replication_plugin.set_conflict_policy('$_', '$_')") for qw(siblings node_priority first_write_wins);
$mesh->sql(1, "SELECT replication_plugin.set_column_merge('counters', 'n', 'counter'), replication_plugin.set_column_merge('counters', 'price', 'counter'),
	replication_plugin.set_column_merge('sets', 'tags', 'set'), replication_plugin.set_column_merge('maps', 'doc', 'map'),
	replication_plugin.set_column_merge('cells', 'a', 'last_write_wins'), replication_plugin.set_column_merge('cells', 'b', 'last_write_wins')");
$mesh->wait_converged;

# ---------- writes ----------

# A write on a node, by itself. Returns its version as siblings() shows it; nothing if it found no row.
sub put
{
	my ($i, $sql, $context) = @_;
	my $set = defined $context ? "SET LOCAL replication_plugin.causal_context = '$context';" : '';
	my $out = $mesh->sql($i, "BEGIN; $set $sql;
		SELECT coalesce(pg_current_xact_id_if_assigned()::text, '') AS x \\gset
		COMMIT;
		SELECT '$i:' || (extract(epoch FROM pg_xact_commit_timestamp(nullif(:'x', '')::xid)) * 1000000 - 946684800000000)::bigint");
	return $out eq '' ? undef : $out;
}

# Orders versions, newest first.
sub newest_first
{
	my ($x, $y) = map { [ split /:/ ] } @_;
	return $y->[1] <=> $x->[1] || $y->[0] <=> $x->[0];
}

my $token = 0;
sub token { return 'v' . ++$token; }
sub pick { return $_[ rand @_ ]; }

# ---------- rows with siblings ----------

# What is there, by table and key: { version => value, undef if deleted }. And what a node has of it in this round, and what was replaced.
my (%there, %view, %replaced, %read);

sub view_of
{
	my ($i, $table, $k) = @_;
	return $view{$i}{$table}{$k} ||= { %{ $there{$table}{$k} || {} } };
}

# One write; a client's one replaces what it had read.
sub write_row
{
	my ($i, $table, $k) = @_;
	my $view = view_of($i, $table, $k);
	my $value = rand() < 0.25 ? undef : token();
	my $sql = defined $value ? "INSERT INTO $table VALUES ($k, '$value') ON CONFLICT (id) DO UPDATE SET v = excluded.v" : "DELETE FROM $table WHERE id = $k";
	my ($context, @gone) = (undef, keys %$view);
	my $read = $read{$i}{$table}{$k} ||= [ [ 'none', [] ] ];
	if ($table ne 'last_write_wins' && defined $value && rand() < 0.4)
	{
		my $chosen = pick(@$read);
		$context = $chosen->[0];
		my %known = map { $_ => 1 } @{ $chosen->[1] };
		# a row that is just deleted has nothing to keep
		@gone = grep { $known{$_} } @gone unless keys %$view == 1 && !defined((values %$view)[0]);
	}
	my $version = put($i, $sql, $context) // return;
	$replaced{$table}{$k}{$_} = 1 for @gone;
	delete @$view{@gone};
	$view->{$version} = $value;
	push @$read, [ $mesh->sql($i, "SELECT replication_plugin.causal_context('$table', '{\"id\": $k}')"), [ keys %$view ] ]
		if $table ne 'last_write_wins' && rand() < 0.3;
}

# When all have everything: what no write has replaced; of the others the newest.
sub join_rows
{
	for my $table (@policies)
	{
		for my $k (@keys)
		{
			my %all = map { %{ $view{$_}{$table}{$k} || $there{$table}{$k} || {} } } @nodes;
			delete @all{ keys %{ $replaced{$table}{$k} || {} } };
			my @order = sort { newest_first($a, $b) } keys %all;
			%all = ($order[0] => $all{ $order[0] }) if $table eq 'last_write_wins' && @order;
			$there{$table}{$k} = \%all;
		}
	}
}

# What a policy shows of siblings; undef: nothing.
sub shown
{
	my ($table, $all) = @_;
	my @order = sort { newest_first($a, $b) } keys %$all;
	return undef unless @order;
	return $all->{ $order[-1] } if $table eq 'first_write_wins';
	if ($table eq 'node_priority')
	{
		my %place = map { $priority[$_] => $_ } 0 .. $#priority;
		my ($best) = sort { $place{ (split /:/, $a)[0] } <=> $place{ (split /:/, $b)[0] } || newest_first($a, $b) } @order;
		return $all->{$best};
	}
	my @live = grep { defined } map { $all->{$_} } reverse @order;
	return CORE::join('+', @live) if $table eq 'handler' && @live;
	return $all->{ $order[0] };
}

# What siblings() gives, as text.
sub siblings_text
{
	my ($all) = @_;
	my @order = sort { newest_first($a, $b) } keys %$all;
	return '' if @order == 1 && !defined $all->{ $order[0] };
	return CORE::join(' ', map { "$_=" . ($all->{$_} // '-') } @order);
}

sub siblings_here
{
	my ($i, $table, $k) = @_;
	return $mesh->sql($i, "SELECT string_agg(version || '=' || coalesce(\"row\" ->> 'v', '-'), ' ' ORDER BY place)
		FROM replication_plugin.siblings('$table', '{\"id\": $k}') WITH ORDINALITY s(version, node, written_at, deleted, \"row\", place)");
}

sub check_rows
{
	my ($round) = @_;
	for my $table (@policies)
	{
		my %shown = map { $_ => shown($table, $there{$table}{$_}) } @keys;
		my $expected = CORE::join(' ', map { "$_=$shown{$_}" } grep { defined $shown{$_} } @keys);
		for my $i (@nodes)
		{
			is($mesh->sql($i, "SELECT string_agg(id || '=' || v, ' ' ORDER BY id) FROM $table"), $expected, "round $round: $table on node $i") and next;
			next if $table eq 'last_write_wins';
			diag("key $_: " . siblings_here($i, $table, $_) . "\nexpected: " . siblings_text($there{$table}{$_})) for @keys;
		}
		next if $table eq 'last_write_wins';
		$expected = CORE::join("\n", map { siblings_text($there{$table}{$_}) } @keys);
		my $i = pick(@nodes);
		is(CORE::join("\n", map { siblings_here($i, $table, $_) } @keys), $expected, "round $round: siblings of $table on node $i");
	}
}

# ---------- columns that merge ----------

# Counters: what was acknowledged. Sets and maps: { element or path => { number of the write => [ version, value ] } }. Cells: newest write.
my (%count, %items, %item_view, %item_gone, %cell);

sub count_up
{
	my ($i) = @_;
	my ($k, $n, $cents) = (pick(@keys), int(rand 20) - 8, int(rand 400) - 150);
	$mesh->sql($i, "UPDATE counters SET n = n + $n, price = price + $cents / 100.0 WHERE id = $k");
	$count{$k}{n} += $n;
	$count{$k}{cents} += $cents;
}

sub items_of
{
	my ($i, $table, $k, $item) = @_;
	return $item_view{$i}{$table}{$k}{$item} ||= { %{ $items{$table}{$k}{$item} || {} } };
}

# Adds or removes an element, or sets or removes what is at a path of a map.
sub write_item
{
	my ($i, $table) = @_;
	my $k = pick(@keys);
	my $item = $table eq 'sets' ? pick('a' .. 'f') : pick('p', 'q', 'in,p', 'in,q');
	my $view = items_of($i, $table, $k, $item);
	my $remove = rand() < 0.4;
	return if $remove && !%$view || $table eq 'sets' && !$remove && %$view;    # changes nothing
	my $value = token();
	my $sql = $table eq 'sets'
		? ($remove ? "tags = array_remove(tags, '$item')" : "tags = tags || '$item'::text")
		: ($remove ? "doc = doc #- '{$item}'" : "doc = jsonb_set(" . ($item =~ /in,/ ? "'{\"in\": {}}' || doc" : 'doc') . ", '{$item}', '\"$value\"')");
	my $version = put($i, "UPDATE $table SET $sql WHERE id = $k");
	$item_gone{$table}{$k}{$item}{$_} = 1 for keys %$view;
	%$view = $remove ? () : ($version => $value);
	return unless $item =~ /in,/;

	# that the inner object is empty is a value of its own, which any write inside replaces; without that and members it is gone
	my $empty = items_of($i, $table, $k, 'in');
	$item_gone{$table}{$k}{in}{$_} = 1 for keys %$empty;
	%$empty = grep({ %{ items_of($i, $table, $k, "in,$_") } } 'p', 'q') ? () : ($version => '{}');
}

sub write_cell
{
	my ($i) = @_;
	my ($k, $column, $value) = (pick(@keys), pick('a', 'b'), token());
	my $version = put($i, "UPDATE cells SET $column = '$value' WHERE id = $k");
	my $now = $cell{$k}{$column};
	$cell{$k}{$column} = [ $version, $value ] if !$now || newest_first($version, $now->[0]) < 0;
}

# When all have everything: what was added and not removed by somebody who had seen that.
sub join_items
{
	for my $table ('sets', 'maps')
	{
		for my $k (@keys)
		{
			my %names = map { $_ => 1 } map { keys %$_ } $items{$table}{$k} || {}, map { $item_view{$_}{$table}{$k} || {} } @nodes;
			for my $item (keys %names)
			{
				my %all = map { %{ items_of($_, $table, $k, $item) } } @nodes;
				delete @all{ keys %{ $item_gone{$table}{$k}{$item} || {} } };
				$items{$table}{$k}{$item} = \%all;
			}
		}
	}
}

# The newest value at a path; undef: nothing.
sub at
{
	my ($k, $path) = @_;
	my $all = $items{maps}{$k}{$path} || {};
	my ($newest) = sort { newest_first($a, $b) } keys %$all;
	return defined $newest ? $all->{$newest} : undef;
}

sub map_text
{
	my ($k) = @_;
	my $inner = CORE::join(', ', map { my $v = at($k, "in,$_"); defined $v ? "\"$_\": \"$v\"" : () } 'p', 'q');
	my $outer = CORE::join(', ', map { my $v = at($k, $_); defined $v ? "\"$_\": \"$v\"" : () } 'p', 'q');
	return '{' . CORE::join(', ', grep { $_ ne '' } $outer, $inner ne '' || defined at($k, 'in') ? "\"in\": {$inner}" : '') . '}';
}

sub check_counters
{
	my ($round) = @_;
	my $expected = CORE::join(' ', map { "$_=" . ($count{$_}{n} || 0) . '/' . ($count{$_}{cents} || 0) } @keys);
	is($mesh->sql($_, "SELECT string_agg(id || '=' || n || '/' || (price * 100)::int, ' ' ORDER BY id) FROM counters"), $expected, "round $round: all that was counted, on node $_") for @nodes;
}

sub check_items
{
	my ($round) = @_;
	my $sets = CORE::join(' ', map { my $k = $_; "$k=" . CORE::join(',', grep { %{ $items{sets}{$k}{$_} || {} } } 'a' .. 'f') } @keys);
	is($mesh->sql($_, "SELECT string_agg(id || '=' || array_to_string(ARRAY(SELECT unnest(tags) ORDER BY 1), ','), ' ' ORDER BY id) FROM sets"), $sets, "round $round: sets on node $_") for @nodes;
	my @maps = map { map_text($_) } @keys;
	is($mesh->sql($_, "SELECT count(*) FROM maps m JOIN unnest(ARRAY[" . CORE::join(',', map { "'$_'" } @maps) . "]::jsonb[]) WITH ORDINALITY u(doc, id) USING (id, doc)"), 5, "round $round: maps on node $_")
		or diag($mesh->sql($_, 'SELECT id, doc FROM maps ORDER BY 1') . "\nexpected:\n@maps") for @nodes;
	my $cells = CORE::join(' ', map { my $c = $cell{$_}; "$_=" . ($c->{a} ? $c->{a}[1] : '') . '/' . ($c->{b} ? $c->{b}[1] : '') } @keys);
	is($mesh->sql($_, "SELECT string_agg(id || '=' || a || '/' || b, ' ' ORDER BY id) FROM cells"), $cells, "round $round: cells on node $_") for @nodes;
}

$items{maps}{$_}{in}{'1:0'} = '{}' for @keys;

# ---------- rounds ----------

sub random_write
{
	my $i = pick(@nodes);
	my $what = int rand 9;
	if ($what < 5) { write_row($i, $policies[$what], pick(@keys)); }
	elsif ($what == 5) { count_up($i); }
	elsif ($what == 6) { write_item($i, 'sets'); }
	elsif ($what == 7) { write_item($i, 'maps'); }
	else { write_cell($i); }
}

# Nobody hears of the others; some servers are killed meanwhile.
sub apart
{
	my ($round) = @_;
	(%view, %replaced, %read, %item_view, %item_gone) = ();
	$mesh->pause_all;
	for (1 .. 20 + int rand 40)
	{
		random_write();
		next if rand() > 0.01;
		my $victim = pick(@nodes);
		$mesh->kill9_server($victim);
		$mesh->start_server($victim);
	}
	$mesh->resume_all;
	join_rows();
	join_items();
	check_rows($round);
	check_counters($round);
	check_items($round);
}

# What a client's statements, one a line, have added to counters. One may meet an applier in a deadlock and be the one that is rolled back
# (of two waiters PostgreSQL lets the second one go): then the client has stopped there, and been told.
sub count_done
{
	my ($job, @added) = @_;
	my $err = ($mesh->finish_sql($job))[1];
	my $stopped = $err =~ /:(\d+): ERROR:  deadlock detected/ ? $1 : undef;
	defined $stopped ? note("a client was rolled back: $err") : is($err, '', 'a client writes');
	for (@added)
	{
		my ($line, $k, $n) = @$_;
		$count{$k}{n} += $n if !defined $stopped || $line < $stopped;
	}
}

# All at once, while links run and are cut: counts are exact, all nodes agree; then the model learns what there is.
sub together
{
	my ($round) = @_;
	my @jobs = map {
		my $i = $_;
		my $sql = '';
		my @added;
		for (1 .. 60)
		{
			my ($k, $n) = (pick(@keys), int(rand 20) - 8);
			$sql .= "UPDATE counters SET n = n + $n WHERE id = $k;\n";
			push @added, [ 2 * $_ - 1, $k, $n ];
			my $table = pick(@policies);
			$sql .= rand() < 0.25 ? "DELETE FROM $table WHERE id = $k;\n" : "INSERT INTO $table VALUES ($k, '" . token() . "') ON CONFLICT (id) DO UPDATE SET v = excluded.v;\n";
		}
		[ $mesh->start_sql($i, $sql), @added ];
	} @nodes;
	count_done(@$_) for @jobs;
	$mesh->kill_one(pick(@nodes), pick('link', 'walsender'));
	$mesh->poll($_, 'SELECT 1', 1) or die for @nodes;
	$mesh->wait_converged;
	check_counters($round);
	$mesh->is_same_siblings($_, "round $round") for grep { $_ ne 'last_write_wins' } @policies;
	for my $table (@policies)
	{
		for my $k (@keys)
		{
			my $text = $table ne 'last_write_wins' ? siblings_here(1, $table, $k) :
				$mesh->sql(1, "SELECT '1:0=' || v FROM $table WHERE id = $k");    # its version is less than that of any write to come
			$there{$table}{$k} = { map { /^(.*?)=(.*)$/; $1 => $2 eq '-' ? undef : $2 } split / /, $text };
		}
	}
}

my $end = time() + $seconds;
my $round = 0;
while (time() < $end || $round < 4)
{
	$round++;
	if ($round % 4) { apart($round); }
	else { together($round); }
	$mesh->is_identical("round $round (seed $seed)");
	last unless Test::More->builder->is_passing;
}
note("$round rounds, $token values");
done_testing();
