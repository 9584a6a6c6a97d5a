/*
 * merge_parts.c
 *		Runs of increments of counters.
 */
#include "postgres.h"

#include "model/merge_parts.h"

MergePart *
merge_parts_find(const MergeParts *p, NodeId node, Version born)
{
	for (int i = 0; i < p->n; i++)
	{
		if (p->list[i].node == node && version_cmp(p->list[i].born, born) == 0)
			return &p->list[i];
	}
	return NULL;
}

MergePart *
merge_parts_append(MergeParts *p, MergePart part)
{
	p->list =
		p->list ? repalloc(p->list, (p->n + 1) * sizeof(MergePart)) : palloc(sizeof(MergePart));
	p->list[p->n] = part;
	return &p->list[p->n++];
}

void
merge_parts_write(MergeWriter *w, const MergeParts *p, bool entries)
{
	merge_write_count(w, p->n);
	for (int i = 0; i < p->n; i++)
	{
		const MergePart *part = &p->list[i];

		merge_write_count(w, part->node);
		merge_write_version(w, part->born);
		merge_write_count(w, part->seq);
		merge_write_numeric(w, part->total);
		if (entries)
		{
			merge_write_version(w, part->last);
			merge_write_count(w, part->closed);
		}
	}
}

void
merge_parts_read(MergeReader *r, MergeParts *p, bool entries)
{
	p->n = merge_read_length(r);
	p->list = palloc(Max(p->n, 1) * sizeof(MergePart));
	for (int i = 0; i < p->n; i++)
	{
		MergePart  *part = &p->list[i];

		part->node = merge_read_node(r);
		part->born = merge_read_version(r);
		part->seq = merge_read_count(r);
		part->total = merge_read_numeric(r);
		part->last = entries ? merge_read_version(r) : VERSION_OLDEST;
		part->closed = entries && merge_read_count(r) != 0;
	}
}
