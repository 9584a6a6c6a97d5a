# What must hold when all nodes of a history have everything: they are equal, byte by byte, and show what their own notes of all writes say.
package History::Check;

use strict;
use warnings;
use History;
use Mesh;

my @nodes = 1 .. 3;

# One node's tables, siblings, parked rows and notes, a line each:
#   R table key md5-of-text md5-of-jsonb    P table key version md5-of-jsonb    S table key version,deleted,md5-of-jsonb ... (newest first)
#   W version place table key op sum found context (of its own writes, only that node has them)    T total    D done
sub dump_sql
{
	my @lines;
	my %checked = map { $_ => 1 } @History::newest, @History::contested, @History::wide, @History::merged;
	for my $table (sort keys %checked)
	{
		push @lines, "SELECT concat_ws('|', 'R', '$table', noted.key_of(to_jsonb(t), '$table'), md5(t::text), md5((to_jsonb(t) - 'size')::text)) FROM $table t";
	}
	push @lines, "SELECT 'O|' || md5(string_agg(t::text, E'\\n' ORDER BY t::text COLLATE \"C\")) FROM own t", "SELECT 'D|' || token FROM done",
		"SELECT 'T|' || to_jsonb(t)::text FROM totals t";
	for my $table (@History::contested)
	{
		push @lines, "SELECT concat_ws('|', 'P', '$table', noted.key_of(to_jsonb(t), '$table'), md5(t::text), md5((to_jsonb(t) - 'size')::text)) FROM replication_plugin.parked_of(NULL::$table) t";
	}
	for my $table (@History::keep_siblings)
	{
		push @lines, "SELECT concat_ws('|', 'S', '$table', k, string_agg(coalesce(s.version, '-') || ',' || s.deleted || ',' || coalesce(md5((s.\"row\" - 'size')::text), ''), ' ' ORDER BY s.place))
			FROM generate_series(1, 9) k, LATERAL replication_plugin.siblings('$table', jsonb_build_object('id', k)) WITH ORDINALITY s(version, node, written_at, deleted, \"row\", place) GROUP BY k";
	}
	push @lines, "SELECT concat_ws('|', 'W', (extract(epoch FROM pg_xact_commit_timestamp(xid::xid)) * 1000000)::bigint - 946684800000000, seq, tab, key, op,
		coalesce(sum, ''), coalesce(found, ''), coalesce(context, '')) FROM noted.write";
	return 'SELECT line FROM (' . join(' UNION ALL ', @lines) . ') l(line) ORDER BY line COLLATE "C"';
}

# Everything that is wrong, as texts.
sub problems
{
	my ($mesh, $acknowledged) = @_;
	my %id = map { /(\d+) node(\d+)/ ? ($2, $1) : () } split /\n/, $mesh->sql(1, "SELECT node_id || ' ' || node_name FROM replication_plugin.nodes");
	my (@dumps, @writes, @problems);
	for my $i (@nodes)
	{
		my ($status, $out, $err) = $mesh->try_sql($i, dump_sql());
		return "node $i has rows that cannot be read: " . substr $err, 0, 400 if $status;
		my @lines = split /\n/, $out;
		push @writes, map { write_of($id{$i}, $_) } grep { /^W/ } @lines;
		push @dumps, [ grep { !/^W/ } @lines ];
	}
	push @problems, differences(@dumps);
	my $shown = read_dump(@{ $dumps[0] });
	push @problems, check_done($shown, $acknowledged), check_rows($shown, @writes), check_siblings($shown, @writes), check_shown($shown, \%id), totals_of($mesh, $shown);
	return @problems;
}

sub write_of
{
	my ($node, $line) = @_;
	my (undef, $ts, $seq, $table, $key, $op, $sum, $found, $context) = split /\|/, $line, -1;
	return { node => $node, ts => $ts, seq => $seq, table => $table, key => $key, op => $op, sum => $sum, found => [ split ' ', $found ], context => $context };
}

sub by_version { return $_[0]{ts} <=> $_[1]{ts} || $_[0]{node} <=> $_[1]{node} || $_[0]{seq} <=> $_[1]{seq}; }
sub version { return "$_[0]{node}:$_[0]{ts}"; }

# Lines that not all nodes have, or not equally often.
sub differences
{
	my (@dumps) = @_;
	my %count;
	for my $i (0 .. $#dumps) { $count{$_}[$i]++ for @{ $dumps[$i] }; }
	my @problems;
	for my $line (sort keys %count)
	{
		my @n = map { $_ || 0 } @{ $count{$line} }[ 0 .. $#dumps ];
		push @problems, "differs: on nodes 1, 2, 3 " . join(', ', @n) . " times: " . substr($line, 0, 400) if grep { $_ != $n[0] } @n;
	}
	return @problems;
}

sub read_dump
{
	my %shown;
	for my $line (@_)
	{
		my ($letter, @f) = split /\|/, $line, -1;
		$shown{rows}{ $f[0] }{ $f[1] } = $f[3] if $letter eq 'R';
		$shown{parked}{ $f[0] }{ $f[1] } = $f[3] if $letter eq 'P';
		$shown{siblings}{ $f[0] }{ $f[1] } = [ map { my ($version, $deleted, $sum) = split /,/, $_, -1; { version => $version, deleted => $deleted eq 'true', sum => $sum } } split ' ', $f[2] ] if $letter eq 'S';
		$shown{done}{ $f[0] }++ if $letter eq 'D';
	}
	return \%shown;
}

# Each transaction that a client was told of is there, and each once.
sub check_done
{
	my ($shown, $acknowledged) = @_;
	return ((map { "lost: transaction $_ was acknowledged" } grep { !$shown->{done}{$_} } sort keys %$acknowledged),
		map { "transaction $_ is there $shown->{done}{$_} times" } grep { $shown->{done}{$_} > 1 } sort keys %{ $shown->{done} });
}

# Each row is the newest write of its key: it is shown, or parked where it can be in another one's place.
sub check_rows
{
	my ($shown, @writes) = @_;
	my (%newest, @problems);
	my %contested = map { $_ => 1 } @History::contested;
	my %is_checked = map { $_ => 1 } @History::newest, @History::contested;
	for my $w (grep { $_->{op} ne 'FIND' && $is_checked{ $_->{table} } } @writes)
	{
		my $known = $newest{ $w->{table} }{ $w->{key} };
		$newest{ $w->{table} }{ $w->{key} } = $w if !$known || by_version($w, $known) > 0;
	}
	for my $table (sort keys %is_checked)
	{
		my %keys = map { $_ => 1 } keys %{ $newest{$table} }, keys %{ $shown->{rows}{$table} }, keys %{ $shown->{parked}{$table} };
		for my $key (sort keys %keys)
		{
			my $w = $newest{$table}{$key};
			my ($row, $parked) = map { $shown->{$_}{$table}{$key} } 'rows', 'parked';
			push @problems, "$table $key: is shown and parked" if $row && $parked;
			my $there = $row // $parked // '';
			my $wanted = !$w ? '' : $w->{sum};
			push @problems, "$table $key: shows " . ($there || 'nothing') . ', but its newest write is ' . ($w ? version($w) . " ($w->{op}, $w->{sum})" : 'none') if $there ne $wanted;
		}
	}
	return @problems;
}

# The siblings of a row are writes that no write that had found them has replaced, all of these, and the newest write is one.
sub check_siblings
{
	my ($shown, @writes) = @_;
	my (%of, @problems);
	my %is_checked = map { $_ => 1 } @History::keep_siblings;
	push @{ $of{ $_->{table} }{ $_->{key} } }, $_ for grep { $is_checked{ $_->{table} } && $_->{key} <= 9 } @writes;
	for my $table (sort keys %of)
	{
		for my $key (sort keys %{ $of{$table} })
		{
			push @problems, siblings_of_row("$table $key", $shown->{siblings}{$table}{$key} || [], @{ $of{$table}{$key} });
		}
	}
	return @problems;
}

sub siblings_of_row
{
	my ($name, $siblings, @notes) = @_;
	my (%last, %replaced, %vague, @problems);
	for my $w (sort { by_version($a, $b) } @notes)
	{
		my $version = version($w);
		if ($w->{op} ne 'FIND') { $last{$version} = $w; $vague{$version} = 1 if $w->{op} eq 'INSERT'; }
	}
	for my $w (grep { $_->{op} eq 'FIND' } @notes)
	{
		my $version = version($w);
		next if !$last{$version};    # found a row, and then changed nothing
		my %context = map { $_ => 1 } split /[ ,]+/, $w->{context};
		for my $found (grep { $_ ne $version } @{ $w->{found} })
		{
			$replaced{$found} = $version if $w->{context} eq '' || $context{$found};
			# a row that is just deleted has nothing to keep
			$vague{$version} = 1 if $w->{context} ne '';
		}
	}
	my ($newest) = (sort { by_version($b, $a) } values %last);
	my %there = map { $_->{version} => $_ } @$siblings;
	return if !$newest;
	push @problems, "the newest write " . version($newest) . ' is no sibling' if !$there{ version($newest) } && !(!@$siblings && $newest->{op} eq 'DELETE');
	for my $version (sort keys %last)
	{
		push @problems, "$version was replaced by $replaced{$version}, and is there" if $there{$version} && $replaced{$version};
		next if $there{$version} || $replaced{$version};
		# an insert found no row to lock, so who knows what it replaced
		next if grep { by_version($last{$_}, $last{$version}) > 0 } keys %vague;
		# deletes alone are forgotten in the end
		push @problems, "$version ($last{$version}{op}) is lost: nobody has replaced it, the newest is " . version($newest) . " ($newest->{op})" unless !@$siblings && $last{$version}{op} eq 'DELETE';
	}
	push @problems, map { "$_ is from nowhere" } grep { $_ ne '-' && !$last{$_} } sort keys %there;
	return map { "$name: sibling $_; there are " . (join(' ', map { $_->{version} } @$siblings) || 'none') } @problems;
}

# What a policy shows is one of the siblings.
sub check_shown
{
	my ($shown, $id) = @_;
	my @problems;
	my %rank = ($id->{2} => 0, $id->{3} => 1, $id->{1} => 2);
	for my $table (qw(sib prio first))
	{
		for my $key (sort keys %{ $shown->{siblings}{$table} })
		{
			my @siblings = @{ $shown->{siblings}{$table}{$key} };
			next if grep { $_->{version} eq '-' } @siblings;
			my ($best) = @siblings;
			$best = $siblings[-1] if $table eq 'first';
			($best) = sort { $rank{ ($a->{version} =~ /^(\d+)/)[0] } <=> $rank{ ($b->{version} =~ /^(\d+)/)[0] } } @siblings if $table eq 'prio';
			my $wanted = $best->{deleted} ? '' : $best->{sum};
			my $there = $shown->{rows}{$table}{$key} // '';
			push @problems, "$table $key: shows " . ($there || 'nothing') . ', should show ' . ($wanted || 'nothing') . ' of ' . join ' ', map { "$_->{version},$_->{sum}" } @siblings if $there ne $wanted;
		}
	}
	return @problems;
}

# Sums and elements of table totals: what transactions that are there have added, by the notes of the nodes.
sub totals_of
{
	my ($mesh, $shown) = @_;
	my %sum;
	for my $i (@nodes)
	{
		for my $line (split /\n/, $mesh->sql($i, "SELECT concat_ws('|', id, what, value) FROM noted.added"))
		{
			my ($id, $what, $value) = split /\|/, $line, -1;
			if ($what eq 'n' || $what eq 'x') { $sum{$id}{$what} += $value; }
			else { $sum{$id}{$what}{$value} = 1; }
		}
	}
	my @problems;
	for my $id (1 .. 4)
	{
		my $wanted = join '|', (map { ($sum{$id}{$_} || 0) + 0 } 'n', 'x'), map { join ' ', sort keys %{ $sum{$id}{$_} || {} } } 'tags', 'attrs';
		my ($n, $x, $tags, $attrs) = split /\|/, $mesh->sql(1, "SELECT concat_ws('|', n, x, coalesce((SELECT string_agg(t, ' ' ORDER BY t COLLATE \"C\") FROM unnest(tags) t), ''),
			coalesce((SELECT string_agg(k, ' ' ORDER BY k COLLATE \"C\") FROM jsonb_object_keys(attrs) k), '')) FROM totals WHERE id = $id"), -1;
		my $found = join '|', $n + 0, $x + 0, $tags // '', $attrs // '';
		push @problems, "totals $id: shows $found, should show $wanted" if $found ne $wanted;
	}
	return @problems;
}

1;
