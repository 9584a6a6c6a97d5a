# What a row must show after concurrent writes, computed from the writes and from what each of them had seen.
# No servers here, and nothing of how the product does it: every answer starts from the writes of a round anew.
#
# A write is { node, seq, ts, token, ... }: its node's number, its place among the writes of this node in this round, and the
# commit timestamp and the name of its transaction. What was there before the round all writes have seen.
package Model;

use strict;
use warnings;
use JSON::PP;

my $json = JSON::PP->new->canonical->allow_nonref;

# Order of writes: by version, and those of one transaction as they were made.
sub by_version
{
	my ($x, $y) = @_;
	return $x->{ts} <=> $y->{ts} || $x->{node} <=> $y->{node} || $x->{seq} <=> $y->{seq};
}

sub oldest_first { return sort { by_version($a, $b) } @_; }
sub newest { return (oldest_first(@_))[-1]; }

# ---------- siblings ----------

# A write on a node that has these siblings; its context, if it has one, is what its client had read. Notes what it
# replaces, and returns what the node has then.
sub write_sibling
{
	my ($here, $write) = @_;
	my $read = $write->{context};
	# a row that is just deleted, by whomever, has nothing to keep
	$read = undef if !grep { !$_->{deleted} } @$here;
	my @replaced = grep { my $s = $_; !$read || $s->{token} eq $write->{token} || grep { $_ == $s } @$read } @$here;
	$_->{replaced} = 1 for @replaced;
	my @kept = grep { my $s = $_; !grep { $_ == $s } @replaced } @$here;
	return [ @kept, $write ];
}

# What a client reads: of a row that is just deleted, by whomever, nothing.
sub readable
{
	my ($here) = @_;
	return (grep { !$_->{deleted} } @$here) ? [@$here] : [];
}

# What a policy shows of siblings: a value, or undef for no row. rank: places of the nodes for node_priority.
sub shown_sibling
{
	my ($policy, $rank, @siblings) = @_;
	my @sorted = oldest_first(@siblings) or return;
	my @live = grep { !$_->{deleted} } @sorted;
	return join '+', map { $_->{v} } @live if $policy eq 'handler' && @live;
	my $shows = $sorted[-1];
	$shows = $sorted[0] if $policy eq 'first_write_wins';
	$shows = (sort { $rank->{ $a->{node} } <=> $rank->{ $b->{node} } || by_version($b, $a) } @sorted)[0] if $policy eq 'node_priority';
	return $shows->{deleted} ? undef : $shows->{v};
}

# ---------- merged columns ----------

# While links rest, a write has seen those of its own node before it.
sub had_seen
{
	my ($later, $earlier) = @_;
	return $earlier->{node} == $later->{node} && $earlier->{seq} < $later->{seq};
}

# What a row shows: base is what it was before the round (undef: no row), writes are { kind, old, new }, of kind insert,
# update or delete. undef: no row.
sub merged_row
{
	my ($base, @writes) = @_;
	return $base if !@writes;
	my $newest = newest(@writes);
	return undef if $newest->{kind} eq 'delete';
	my @puts = grep { $_->{kind} ne 'delete' } @writes;
	return { id => $newest->{new}{id}, other => $newest->{new}{other}, note => last_write($base, 'note', @puts),
		(map { $_ => counter($base, $_, @puts) } 'n', 'x'), tags => set($base, @puts), attrs => map_of($base, @puts) };
}

# The newest write of a column by itself.
sub last_write
{
	my ($base, $column, @puts) = @_;
	my $newest = newest(grep { $_->{kind} eq 'insert' || $_->{old}{$column} ne $_->{new}{$column} } @puts);
	return $newest ? $newest->{new}{$column} : $base->{$column};
}

# The newest assignment, and all differences that it had not seen.
sub counter
{
	my ($base, $column, @puts) = @_;
	my $assigned = newest(grep { $_->{kind} eq 'insert' } @puts);
	my $sum = $assigned ? $assigned->{new}{$column} : $base->{$column};
	for my $put (grep { $_->{kind} eq 'update' } @puts)
	{
		$sum += $put->{new}{$column} - $put->{old}{$column} unless $assigned && had_seen($assigned, $put);
	}
	return $sum;
}

# Items that no write that had seen them was about. An insert is about everything.
sub live
{
	my ($items, $is_about, @puts) = @_;
	my @live;
	for my $item (@$items)
	{
		my $from = $item->{write};
		push @live, $item unless grep { (!$from->{seq} || had_seen($_, $from)) && ($_->{kind} eq 'insert' || $is_about->($_, $item)) } @puts;
	}
	return @live;
}

# Stands for all that was there before the round.
sub beginning { return { ts => 0, node => 0, seq => 0, kind => 'insert', new => $_[0] }; }

# The elements that were added and are not removed, in the order in which they were added.
sub set
{
	my ($base, @puts) = @_;
	my @items;
	for my $put (oldest_first(($base ? beginning($base) : ()), @puts))
	{
		push @items, map { { key => $_, write => $put } } added_elements($put);
	}
	my %there;
	return [ grep { !$there{$_}++ } map { $_->{key} } live(\@items, \&is_about_element, @puts) ];
}

sub added_elements
{
	my ($put) = @_;
	my %before = map { $_ => 1 } $put->{kind} eq 'insert' ? () : @{ $put->{old}{tags} };
	return grep { !$before{$_} } @{ $put->{new}{tags} };
}

sub is_about_element
{
	my ($put, $item) = @_;
	my ($before, $after) = map { my $tags = $_; scalar grep { $_ eq $item->{key} } @$tags } $put->{old}{tags}, $put->{new}{tags};
	return $before != $after;
}

# ---------- maps ----------

# The leaves of an object by their paths (names, each with a zero behind it). An empty object is a leaf.
sub leaves
{
	my ($value, $path) = @_;
	$path //= '';
	return ($path => $json->encode($value)) unless ref $value eq 'HASH' && %$value;
	return map { leaves($value->{$_}, "$path$_\0") } keys %$value;
}

# True if a path is another one, or above it.
sub is_above { return index($_[1], $_[0]) == 0; }

sub is_related { return is_above($_[0], $_[1]) || is_above($_[1], $_[0]); }

# The shortest path at which nothing is any more, of a leaf that is gone.
sub gone_at
{
	my ($path, @left) = @_;
	my @names = $path =~ /([^\0]*\0)/g;
	for my $n (0 .. @names)
	{
		my $above = join '', @names[ 0 .. $n - 1 ];
		return $above unless grep { is_above($above, $_) } @left;
	}
	return $path;
}

# Paths that a write is about, and the leaves that it adds; worked out once.
sub difference
{
	my ($put) = @_;
	return $put->{difference} if $put->{difference};
	my %old = $put->{kind} eq 'insert' ? () : leaves($put->{old}{attrs});
	my %new = leaves($put->{new}{attrs});
	my @paths = keys %new;
	my %added = map { $_ => $new{$_} } grep { !defined $old{$_} || $old{$_} ne $new{$_} } @paths;
	my @gone = grep { my $path = $_; !grep { is_above($_, $path) } @paths } keys %old;
	$put->{difference} = { added => \%added, about => [ keys %added, map { gone_at($_, @paths) } @gone ] };
	return $put->{difference};
}

sub is_about_path
{
	my ($put, $item) = @_;
	return scalar grep { is_related($_, $item->{key}) } @{ difference($put)->{about} };
}

# Key by key, at any depth.
sub map_of
{
	my ($base, @puts) = @_;
	my @items;
	for my $put (($base ? beginning($base) : ()), @puts)
	{
		my $added = difference($put)->{added};
		push @items, map { { key => $_, data => $added->{$_}, write => $put } } keys %$added;
	}
	my @live = live(\@items, \&is_about_path, @puts);
	return @live ? shown_at('', @live) : {};
}

# What shows at a path: of several leaves the newest; of a leaf and what is below it whichever has the newest version, but
# what is below an empty object is in it.
sub shown_at
{
	my ($path, @items) = @_;
	my ($leaf) = sort { by_version($b->{write}, $a->{write}) } grep { $_->{key} eq $path } @items;
	my @below = sort { by_version($b->{write}, $a->{write}) } grep { $_->{key} ne $path } @items;
	my $hidden = $leaf && @below && $leaf->{data} ne '{}' && version_of($below[0]) lt version_of($leaf);
	return $json->decode($leaf->{data}) if $leaf && (!@below || $hidden);
	my %members;
	for my $item (@below)
	{
		my ($name) = substr($item->{key}, length $path) =~ /^([^\0]*\0)/;
		push @{ $members{$name} }, $item;
	}
	return { map { substr($_, 0, -1) => shown_at("$path$_", @{ $members{$_} }) } keys %members };
}

sub version_of { return sprintf '%020d %05d', $_[0]{write}{ts}, $_[0]{write}{node}; }

# A row as text, to be compared and to be read.
sub row_text
{
	my ($row) = @_;
	return '(no row)' if !$row;
	return join ' ', map { "$_=" . (ref $row->{$_} ? $json->encode($row->{$_}) : $row->{$_} =~ /^-?[\d.]+$/ ? $row->{$_} + 0 : $row->{$_}) } sort keys %$row;
}

1;
