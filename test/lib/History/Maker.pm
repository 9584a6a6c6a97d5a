# Makes a random history: the same of the same seed.
package History::Maker;

use strict;
use warnings;
use History;

my $number = 0;    # of values; no two are equal
my $nodes = 3;

sub pick { return $_[ rand @_ ]; }
sub chance { return rand() < $_[0]; }
sub key { return 1 + int(9 * rand() ** 1.5); }    # the first ones are written most
sub fresh { return ++$number; }

# ---------- values ----------

# A text of any size from none to 1 MB, or NULL.
sub any_text
{
	my $r = rand;
	my $v = fresh();
	return 'NULL' if $r < 0.12;
	return "''" if $r < 0.16;
	return "'v$v'" if $r < 0.55;
	return sprintf "repeat('v$v', %d)", 1 + rand 20_000 if $r < 0.65;
	my $size = $r < 0.78 ? 10 + rand 2_000 : $r < 0.92 ? 2_000 + rand 10_000 : $r < 0.985 ? 10_000 + rand 120_000 : 200_000 + rand 850_000;
	return sprintf 'big(%d, %d)', $v, $size;
}

sub or_null { return chance(0.12) ? 'NULL' : $_[0]; }

my %any = (
	a => \&any_text, b => \&any_text, other => \&any_text, v => \&any_text, w => \&any_text,
	n => sub { or_null(int rand 20) },
	x => sub { or_null(pick(int(rand 1000) / 8, "'NaN'", '1.0', '1.00', '1e40')) },
	d => sub { or_null(pick(rand(), "'-0'", "'Infinity'", '1e-300', "'NaN'")) },
	e => sub { or_null(pick("'sad'", "'ok'", "'happy'")) },
	p => sub { or_null(int rand 101) },
	c => sub { or_null("ROW(" . int(rand 100) . ', ' . any_text() . ')::pair') },
	arr => sub { or_null(pick("'{}'", "'{1,NULL,3}'", "'[0:2]={7,8,9}'", "'{{1,2},{3,4}}'", 'ARRAY(SELECT generate_series(1, ' . int(rand 3000) . '))')) },
	doc => sub { or_null(pick("'null'", "'{}'", "jsonb_build_object('k', " . any_text() . ")", "'[1, 2.50, {\"z\": null}]'")) },
	at => sub { or_null(pick("'2026-01-01 00:00:00.123456+02'", "'infinity'", "'0044-03-15 BC'", 'clock_timestamp()')) },
	raw => sub { or_null(pick("''", "'\\x00ff'", 'convert_to(' . any_text() . ", 'UTF8')")) },
	u => sub { or_null("md5('" . fresh() . "')::uuid") },
	flag => sub { or_null(pick('true', 'false')) },
	r => sub { or_null(pick("'empty'", "'[1,5)'", "'(,)'", "'[3,]'")) },
	tags => sub { or_null(pick("'{}'", "'{a,b}'", "'{a,c,NULL}'", "'{\"x y\",\"\"}'")) },
	attrs => sub { or_null(pick("'{}'", sprintf("'{\"a\": %d, \"b\": {\"x\": \"v%d\"}}'", rand 9, fresh()), "'{\"c\": {}}'", "'null'", "'[1]'")) },
	note => sub { or_null("'v" . fresh() . "'") },
	name => sub { or_null("'" . pick('a' .. 'f') . "'") },
	code => sub { or_null(int(rand 6) - 1) },
	room => sub { or_null(1 + int rand 2) },
	during => sub { my $from = int rand 20; or_null(pick("'empty'", "'[$from," . ($from + 1 + int rand 8) . ")'")) },
);

my %columns = (
	(map { $_ => [qw(a b n x d e p c arr doc at raw u flag r tags)] } @History::wide),
	(map { $_ => [qw(n x tags attrs note other)] } @History::merged),
	uniq => [qw(name code v)], uniq_sib => [qw(name v)], booking => [qw(room during v)], part => [qw(n v b)],
	two_keys => [qw(v w)], identity => ['v'], parent => ['v'], child => [qw(parent_id other_id v)]);
$any{$_} = sub { or_null(key()) } for qw(parent_id other_id);
my @tables = sort keys %columns;

# The values of a key, in the order of History::key().
sub key_values
{
	my ($table) = @_;
	return ("'" . pick('a', 'b', 'C') . "'", 1 + int rand 3) if $table eq 'two_keys';
	return (1 + int rand 3, "'" . pick('a', 'b') . "'") if $table eq 'identity';
	return $table eq 'part' ? 1 + int rand 12 : key();
}

sub some_columns
{
	my ($table) = @_;
	my @all = @{ $columns{$table} };
	return @all if chance(0.1);
	my %some = map { pick(@all) => 1 } 1 .. pick(1, 1, 1, 2, 2, 3);
	return sort keys %some;
}

# ---------- statements ----------

sub where
{
	my ($table, @values) = @_;
	my @key = History::key($table);
	return CORE::join ' AND ', map { "$key[$_] = $values[$_]" } 0 .. $#key;
}

sub insert
{
	my ($table, @values) = @_;
	my @key = History::key($table);
	my @columns = chance(0.5) ? @{ $columns{$table} } : some_columns($table);
	return sprintf 'INSERT INTO %s (%s) VALUES (%s)', $table, CORE::join(', ', @key, @columns), CORE::join(', ', @values, map { $any{$_}->() } @columns);
}

sub upsert
{
	my ($table, @values) = @_;
	my $sql = insert($table, @values);
	my ($names) = $sql =~ /^INSERT INTO \w+ \(([^)]*)\)/;
	my %key = map { $_ => 1 } History::key($table);
	my @set = grep { !$key{$_} } split /, /, $names;
	return sprintf '%s ON CONFLICT (%s) DO UPDATE SET %s', $sql, CORE::join(', ', History::key($table)), CORE::join(', ', map { "$_ = excluded.$_" } @set);
}

# A change of columns; of merged ones mostly one that merges.
sub set_clause
{
	my ($table) = @_;
	my $v = fresh();
	my ($item, $k, $m) = ('e' . int rand 4, pick(qw(a b c)), pick(qw(x y)));
	my %merging = (n => "n = n + " . (int(rand 11) - 5), x => 'x = x - ' . int(rand 9) * 0.25,
		tags => pick("tags = array_remove(tags, '$item')", "tags = CASE WHEN '$item' = ANY (tags) THEN tags ELSE tags || '$item'::text END"),
		attrs => pick("attrs = attrs || '{\"$k\": \"$v\"}'", "attrs = CASE jsonb_typeof(attrs) WHEN 'object' THEN jsonb_set(attrs, '{$k,$m}', '\"$v\"') ELSE attrs END",
			"attrs = CASE jsonb_typeof(attrs) WHEN 'object' THEN attrs - '$k' ELSE attrs END",
			"attrs = CASE jsonb_typeof(attrs) WHEN 'object' THEN attrs #- '{$k,$m}' ELSE attrs END"));
	my $is_merged = grep { $_ eq $table } @History::merged;
	return CORE::join ', ', map { $is_merged && $merging{$_} && chance(0.85) ? $merging{$_} : "$_ = " . $any{$_}->() } some_columns($table);
}

# Gives a row another key, which nobody seems to have.
sub move
{
	my ($table, @values) = @_;
	my @key = History::key($table);
	my @other = key_values($table);
	return sprintf 'UPDATE %s SET %s WHERE %s AND NOT EXISTS (SELECT FROM %s WHERE %s)', $table, CORE::join(', ', map { "$key[$_] = $other[$_]" } 0 .. $#key),
		where($table, @values), $table, where($table, @other);
}

sub truncate_of
{
	my ($table) = @_;
	return 'TRUNCATE parent, child' if $table eq 'parent';
	return 'TRUNCATE ' . pick(qw(part part_low part_high)) if $table eq 'part';
	return "TRUNCATE $table";
}

# One statement about one table.
sub statement
{
	my ($table) = @_;
	my @values = key_values($table);
	my $r = rand;
	return insert($table, @values) . ' ON CONFLICT DO NOTHING' if $r < 0.15;
	return upsert($table, @values) if $r < 0.4;
	return "UPDATE $table SET " . set_clause($table) . ' WHERE ' . where($table, @values) if $r < 0.7;
	return "UPDATE $table SET " . set_clause($table) . " WHERE $values[0] <= " . (History::key($table))[0] if $r < 0.74;
	return "UPDATE $table SET " . CORE::join(', ', map { "$_ = NULL" } @{ $columns{$table} }) . ' WHERE ' . where($table, @values) if $r < 0.76;
	return move($table, @values) if $r < 0.83;
	return "DELETE FROM $table WHERE " . where($table, @values) if $r < 0.96;
	return "DELETE FROM $table" if $r < 0.975;
	return truncate_of($table) if $r < 0.985;
	return insert($table, @values);    # may fail, and its transaction with it
}

# What only one node changes: rows of its own in a table without a key.
sub own_rows
{
	my ($node) = @_;
	my $n = 1 + int rand 5;
	return pick("INSERT INTO own VALUES ($node, $n, " . any_text() . ')', "INSERT INTO own SELECT $node, g, 'v" . fresh() . "' FROM generate_series(1, $n) g",
		"UPDATE own SET v = " . any_text() . " WHERE node = $node AND n = $n", "DELETE FROM own WHERE node = $node AND n = $n");
}

# Rows that are never deleted, so that it is known what they must show.
sub total
{
	my $k = 1 + int rand 4;
	my $v = fresh();
	return pick("UPDATE totals SET n = n + " . (int(rand 40) - 15) . " WHERE id = $k", "UPDATE totals SET n = n + 1, x = x + " . int(rand 100) / 4 . " WHERE id = $k",
		"UPDATE totals SET tags = tags || 't$v'::text WHERE id = $k", "UPDATE totals SET attrs = attrs || '{\"k$v\": $v}' WHERE id = $k",
		"UPDATE totals SET attrs = attrs || '{\"k$v\": {\"in\": $v}}', tags = tags || 't$v'::text, x = x - 0.25 WHERE id <= $k");
}

sub bulk
{
	my $table = pick(qw(plain sib part hand_sql));
	my $v = fresh();
	my ($from, $some) = (100 * pick(1 .. 3), 1 + int rand 60);
	my $text = $table eq 'part' ? 'v' : 'a';
	return pick("INSERT INTO $table (id, $text) SELECT g, 'v$v' || g FROM generate_series($from, $from + $some) g ON CONFLICT DO NOTHING",
		"UPDATE $table SET $text = big($v + id, $some) WHERE id BETWEEN $from AND $from + $some", "DELETE FROM $table WHERE id BETWEEN $from AND $from + $some");
}

sub any_statement
{
	my ($node) = @_;
	my $r = rand;
	return total() if $r < 0.14;
	return own_rows($node) if $r < 0.22;
	return bulk() if $r < 0.26;
	return statement(pick(qw(uniq uniq_sib booking))) if $r < 0.42;
	return statement(pick(@tables));
}

# The statements of a transaction. A client's causal context is about its one write.
sub statements
{
	my ($node) = @_;
	return ("SET LOCAL replication_plugin.causal_context = 'none'", statement(pick(@History::policies))) if chance(0.05);
	my @sql = map { any_statement($node) } 1 .. pick(1, 1, 1, 1, 2, 2, 3, 5);
	if (chance(0.12))
	{
		my @inside = map { any_statement($node) } 1 .. pick(1, 2);
		splice @sql, rand(@sql + 1), 0, 'SAVEPOINT s', @inside, pick('ROLLBACK TO s', 'RELEASE s');
	}
	return @sql;
}

# ---------- steps ----------

sub step
{
	my ($verb, $args, @sql) = @_;
	return { verb => $verb, args => $args, sql => \@sql };
}

sub any_node { return 1 + int rand $nodes; }

sub two_nodes
{
	my $i = any_node();
	return ($i, pick(grep { $_ != $i } 1 .. $nodes));
}

# A transaction; begun and not waited for, if $verb is "go".
sub transaction
{
	my ($verb) = @_;
	my $node = any_node();
	return step($verb, [ "$node." . pick(1, 2) ], statements($node));
}

sub maintenance
{
	my $table = pick(@tables);
	my $plain = $table eq 'part' ? 'part_high' : $table;
	return step('do', [ any_node() . '.1' ], pick("VACUUM $plain", "VACUUM (FREEZE) $plain", "VACUUM FULL $plain", "REINDEX TABLE $plain", 'CHECKPOINT', 'SELECT pg_switch_wal()', "ANALYZE $plain",
			"VACUUM replication_plugin.tombstone", "VACUUM (FREEZE) replication_plugin.row_state"));
}

my @shapes = (qw(all_to_all star ring), 'all_to_all');

# Something that happens to nodes, links or clocks.
sub event
{
	my ($i, $j) = two_nodes();
	my $r = rand;
	return step('kill', [ $i, pick(qw(link link walsender walsender group manager session)) ]) if $r < 0.15;
	return step('crash', [$i]) if $r < 0.24;
	return step('restart', [ $i, pick('fast', 'immediate') ]) if $r < 0.32;
	return step('pause', [ $i, $j ]) if $r < 0.45;
	return step('resume', [ $i, $j ]) if $r < 0.56;
	return step('cut', [$i]) if $r < 0.64;
	return step('heal', [$i]) if $r < 0.72;
	return step('clock', [ $i, pick(-20, -1, 0, 0.5, 3, 25) ]) if $r < 0.82;
	return step('topology', [ $i, pick(@shapes), CORE::join(',', sort { rand() <=> 0.5 } 1 .. $nodes) ]) if $r < 0.86;
	return maintenance() if $r < 0.95;
	return step('sleep', [ sprintf '%.2f', rand 0.5 ]);
}

my $prepared = 0;

# A prepared transaction, and its end some steps later; [step, ...], each with the number of steps after which it comes.
sub prepared
{
	my $node = any_node();
	my $name = 'p' . ++$prepared;
	return ([ 0, step('prepare', [ "$node.1", $name ], statements($node)) ],
		[ 1 + int rand 12, step('finish', [ $node, $name, pick('commit', 'commit', 'rollback') ]) ]);
}

# The steps between two checks. Kinds: apart (nobody hears of the others), live (all at once), steady (one after the other, links run).
sub epoch
{
	my ($length) = @_;
	my $kind = pick(qw(apart live live steady));
	my (@steps, @later);
	push @steps, chance(0.6) ? step('pause_all', []) : map { step('cut', [$_]) } 1 .. $nodes if $kind eq 'apart';
	for my $place (1 .. $length)
	{
		my @now = map { $_->[1] } grep { $_->[0] <= $place } @later;
		@later = grep { $_->[0] > $place } @later;
		push @steps, @now;
		if (chance(0.03))
		{
			push @later, map { [ $place + $_->[0] + 1, $_->[1] ] } prepared();
		}
		push @steps, chance($kind eq 'apart' ? 0.03 : 0.1) ? event() : transaction($kind eq 'live' || chance(0.1) ? 'go' : 'tx');
	}
	return (@steps, (map { $_->[1] } @later), step('check', []));
}

# A whole history.
sub history
{
	my ($seed, %opt) = @_;
	srand($seed);
	($number, $prepared) = (0, 0);
	my $steps = $opt{steps} || pick(25, 50, 100, 160);
	return map { epoch($steps * (0.5 + rand)) } 1 .. $opt{epochs} || 4;
}

1;
