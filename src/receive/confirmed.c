/*
 * confirmed.c
 *		Keeps the position that this subscriber has confirmed to a provider, over restarts.
 *
 * Only a subscriber moves its slot, by confirming. If the slot is beyond the confirmed position,
 * someone else has moved it or has made another one in its place, and the provider no longer sends
 * the changes in between.
 *
 * Within one run of this server, the position is in shared memory. Over restarts it is in a file.
 * (A row of a table would write WAL, which would move the positions of the other nodes, and so on
 * without end.) The file is written before each position is confirmed, so a crash of PostgreSQL
 * does not set it back. It is not synced: after a crash of the machine it may be old, and then the
 * progress of the provider's origin may be further. If the slot is beyond that as well, the cause
 * is not known. The slot is treated in the same way: a slot that is made anew from the group slot
 * sends more than is needed, never less.
 */
#include "postgres.h"

#include <fcntl.h>
#include <unistd.h>

#include "miscadmin.h"
#include "storage/fd.h"

#include "receive/confirmed.h"
#include "shared/link_status.h"
#include "shared/origin_map.h"

#define CONFIRMED_FORMAT	"replication_plugin link 1: %63s %d %X/%X %d\n"

/* Returns the name of the link's file, palloc'd. */
static char *
file_name(Link *link)
{
	return psprintf("pg_stat/replication_plugin.link.%u.%d", MyDatabaseId, link->provider);
}

/* Reads the file. Returns InvalidXLogRecPtr if it does not exist or belongs to another member. */
static XLogRecPtr
confirmed_read_file(Link *link, bool *exact)
{
	FILE	   *f = AllocateFile(file_name(link), "r");
	char		group[64];
	uint32		hi,
				lo;
	int			me,
				is_exact;
	bool		good;

	if (!f)
		return InvalidXLogRecPtr;
	good = fscanf(f, CONFIRMED_FORMAT, group, &me, &hi, &lo, &is_exact) == 5 &&
		strcmp(group, link->group_id) == 0 && me == link->me;
	FreeFile(f);
	*exact = good && is_exact;
	return good ? ((uint64) hi << 32 | lo) : InvalidXLogRecPtr;
}

XLogRecPtr
confirmed_known(Link *link, bool *exact)
{
	LinkStatus	l;
	XLogRecPtr	known;

	*exact = true;
	if (link_status_get(link->index, &l) && l.confirmed_lsn != InvalidXLogRecPtr)
		return l.confirmed_lsn;
	*exact = false;
	known = confirmed_read_file(link, exact);
	return Max(known, origin_map_progress(link->provider));
}

void
confirmed_store(Link *link, XLogRecPtr position, bool last)
{
	char	   *name = file_name(link);
	/* always of the same length, since it overwrites the previous line */
	char	   *line = psprintf("replication_plugin link 1: %s %d %08X/%08X %d\n", link->group_id,
								link->me, LSN_FORMAT_ARGS(position), last ? 1 : 0);

	if (link->confirmed_file <= 0)
		link->confirmed_file = BasicOpenFile(name, O_WRONLY | O_CREAT | PG_BINARY);
	if (link->confirmed_file <= 0 ||
		pg_pwrite(link->confirmed_file, line, strlen(line), 0) != strlen(line))
		ereport(LOG, (errcode_for_file_access(), errmsg("could not write file \"%s\": %m", name)));
	pfree(line);
	pfree(name);
}
