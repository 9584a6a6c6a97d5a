/*
 * link_tender.c
 *		Keeps the links that this node takes changes from as the topology wants them.
 *
 * What is wanted is worked out anew in each round from the replicated rows (wanted_links()),
 * and compared with what runs:
 *
 *	- A link that runs with other origins than wanted is restarted: so it begins at its
 *	  confirmed position, and nothing that was received is kept
 *	  (docs/protocol.md, Change of the full set).
 *	- A link that nobody wants any more ends only when all that are wanted stand, or are given up
 *	for the time being: new streams stand before old ones go. If it was of the topology, all members
 *	must
 *	  also know the same members and topology. A link from a removed node ends at once.
 *	- A link that is not connected for reroute_timeout is given up for the time being: the
 *	providers of its provider take its place, until it is up to date again; where these are down as
 *	well,
 *	  theirs, and so on.
 *	- A link that had to ask for origins which did not come by their own way (demand) is restarted
 *	  without them when all links are well again; each time that turns out to be wrong, later.
 *
 * The links that are given up are the only thing remembered here; a new manager finds them again.
 */
#include "postgres.h"

#include <signal.h>

#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#include "base/moment.h"
#include "base/settings.h"
#include "control/links/link_tender.h"
#include "control/workers/manager_sql.h"
#include "control/workers/sql.h"
#include "control/workers/workers.h"
#include "shared/link_status.h"

/* of the time after which a link tries again without what it had to ask for */
#define MAX_DOUBLINGS	6
#define ATTACH_MS		10000	/* a registered worker that has not attached by then is given up */

typedef struct WantedLink
{
	NodeId		provider;
	bool		reroute;
	/* part of a join: from our source, or from a node that joins through us */
	bool		joining;
	bool		paused;
	char	   *origins;		/* 'own', 'all' or node numbers */
	int			index;			/* of its LinkStatus; -1: there is no place for it now */
	LinkStatus	status;
	bool		known;			/* status is filled */
} WantedLink;

static List *given_up = NIL;	/* providers (of int), in TopMemoryContext */

/* Where a provider was when this manager last looked; in TopMemoryContext. */
typedef struct Place
{
	NodeId		provider;
	char	   *dsn;
} Place;

static List *places = NIL;		/* of Place * */

/* ---------- what is wanted ---------- */

/* The links that are given up, as integer[]. */
static char *
given_up_text(void)
{
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	foreach(lc, given_up)
		appendStringInfo(&buf, "%c%d", buf.len ? ',' : '{', lfirst_int(lc));
	appendStringInfoString(&buf, buf.len ? "}" : "{}");
	return buf.data;
}

/* Adds one wanted link, with what is known of it. */
static List *
add_wanted(List *wanted, NodeId provider, char kind, bool paused, char *origins)
{
	WantedLink *w = palloc0(sizeof(WantedLink));

	w->provider = provider;
	w->reroute = kind == 'r';
	w->joining = kind == 'j';
	w->paused = paused;
	w->origins = origins;
	w->index = link_status_find(MyDatabaseId, provider, true);
	if (w->index >= 0)
	{
		link_status_set_reroute(w->index, w->reroute);
		w->known = link_status_get(w->index, &w->status);
	}
	return lappend(wanted, w);
}

/* Reads "provider kind paused origins; ...": kinds are t(opology), r(eroute) and j(oining). */
static List *
parse_wanted(char *text)
{
	List	   *wanted = NIL;
	char	   *save = NULL;

	for (char *item = text ? strtok_r(text, ";", &save) : NULL; item; item = strtok_r(NULL, ";", &save))
	{
		int			provider,
					paused,
					used = 0;
		char		kind;

		if (sscanf(item, "%d %c %d %n", &provider, &kind, &paused, &used) != 3 || used == 0)
			elog(ERROR, "malformed list of links: \"%s\"", item);
		wanted = add_wanted(wanted, provider, kind, paused != 0, item + used);
	}
	return wanted;
}

/* The links that this node should have. */
static List *
wanted_links(LocalNode *local)
{
	const char *params[1];

	if (strncmp(local->state, "joining", 7) == 0)
		return sql_link_exists(local->source_id) ?
			add_wanted(NIL, local->source_id, 'j', sql_link_paused(local->source_id), "all") : NIL;
	if (strcmp(local->state, "ready") != 0 && strcmp(local->state, "leaving") != 0)
		return NIL;
	params[0] = given_up_text();
	return parse_wanted(sql_value("SELECT replication_plugin.tend_wanted_links($1::integer[])", 1, params));
}

/* ---------- links that are down ---------- */

/* True if a link does not get through to its provider for longer than we wait. */
static bool
is_down(const WantedLink *w)
{
	const LinkStatus *l = &w->status;

	return w->known && !w->paused && l->down_since != 0 && !l->apply_failed &&
		moment_is_past(l->down_since, setting_reroute_timeout);
}

/*
 * Gives links up that are down, takes back those that are up to date. Returns true if something
 * changed.
 */
static bool
judge_links(List *wanted, List *nodes)
{
	List	   *now = NIL;
	bool		changed;
	ListCell   *lc;
	MemoryContext old;

	foreach(lc, wanted)
	{
		WantedLink *w = lfirst(lc);
		bool		was = list_member_int(given_up, w->provider);

		if (w->joining || !(is_down(w) || (was && w->status.state != LINK_STREAMING)))
			continue;
		now = lappend_int(now, w->provider);
		if (!was)
			ereport(LOG,
					(errmsg("link from node \"%s\" has been down for %d ms: what it carries is taken from other nodes, where there is a way",
							nodes_name_in(nodes, w->provider), setting_reroute_timeout)));
	}
	foreach(lc, given_up)
	{
		if (!list_member_int(now, lfirst_int(lc)))
			ereport(LOG, (errmsg("link from node \"%s\" is back, or no longer wanted", nodes_name_in(nodes, lfirst_int(lc)))));
	}
	changed = list_difference_int(now, given_up) != NIL || list_difference_int(given_up, now) != NIL;
	list_free(given_up);
	old = MemoryContextSwitchTo(TopMemoryContext);
	given_up = list_copy(now);
	MemoryContextSwitchTo(old);
	return changed;
}

/* True if a link takes part, or is not to be waited for. */
static bool
stands(const WantedLink *w)
{
	return w->paused || w->joining || list_member_int(given_up, w->provider) ||
		(w->known && (w->status.apply_failed || (w->status.pid != 0 && w->status.down_since == 0)));
}

/* True if all links of the topology are up to date. */
static bool
all_well(List *wanted)
{
	ListCell   *lc;

	foreach(lc, wanted)
	{
		WantedLink *w = lfirst(lc);

		if (!w->joining && (!w->known || w->status.state != LINK_STREAMING))
			return false;
	}
	return true;
}

/* ---------- starting and stopping ---------- */

/* Starts the worker of a link. */
static void
start_link(int index, NodeId provider, bool restart)
{
	if (!link_status_set_starting(index, restart))
		return;
	if (!worker_start("replication_plugin_link_main",
					  psprintf("replication_plugin link from node %d", provider),
					  Int32GetDatum(index)))
		(void) link_status_set_failed(index, "no free background worker HINT: Raise max_worker_processes and restart the server.");
}

/* Ends the worker of a link. */
static void
stop_link(const LinkStatus *l)
{
	if (l->pid != 0)
		kill(l->pid, SIGTERM);
}

/* True if a running link asks for other origins than it should. */
static bool
is_outdated(const WantedLink *w, bool well)
{
	const LinkStatus *l = &w->status;

	if (l->down_since != 0 || l->wanted_origins[0] == '\0')
		return false;
	if (strncmp(l->wanted_origins, w->origins, LINK_ORIGINS_SIZE - 1) != 0)
		return true;
	return well && l->demanded_at != 0 &&
		moment_is_past(l->demanded_at, (int64) setting_reroute_timeout << Min(l->demands - 1, MAX_DOUBLINGS));
}

/* Brings one wanted link to life, or to rest. */
static void
tend_link(WantedLink *w, bool well)
{
	LinkStatus *l = &w->status;

	if (!w->known)
		return;
	if (w->paused)
	{
		stop_link(l);
		(void) link_status_set_paused(w->index);
		return;
	}
	if (l->pid != 0)
	{
		if (is_outdated(w, well))
			link_status_request_restart(w->index);
		return;
	}
	if (l->state == LINK_STARTING &&
		!moment_is_past(l->started_at, ATTACH_MS))
		return;					/* registered, not yet attached */
	if (l->state == LINK_BACKOFF && moment_ms_until(l->next_start_at) > 0)
		return;
	start_link(w->index, w->provider, l->started_at != 0 && l->state != LINK_PAUSED);
}

/* The dsn of a provider as last seen, made at first sight. */
static Place *
place_of(NodeRow *n)
{
	ListCell   *lc;
	MemoryContext old;
	Place	   *p;

	foreach(lc, places)
	{
		p = lfirst(lc);
		if (p->provider == n->node_id)
			return p;
	}
	old = MemoryContextSwitchTo(TopMemoryContext);
	p = palloc(sizeof(Place));
	*p = (Place) {n->node_id, pstrdup(n->dsn)};
	places = lappend(places, p);
	MemoryContextSwitchTo(old);
	return p;
}

/* Has the link from a node that has moved connect anew, at once. */
static void
follow(WantedLink *w, List *nodes)
{
	ListCell   *lc;

	foreach(lc, nodes)
	{
		NodeRow    *n = lfirst(lc);
		Place	   *p;

		if (n->node_id != w->provider || w->index < 0)
			continue;
		p = place_of(n);
		if (strcmp(p->dsn, n->dsn) == 0)
			return;
		pfree(p->dsn);
		p->dsn = MemoryContextStrdup(TopMemoryContext, n->dsn);
		ereport(LOG, (errmsg("link from node \"%s\" follows it to another place", n->node_name)));
		if (w->known && w->status.pid != 0 && w->status.down_since != 0)
			stop_link(&w->status);	/* it may be trying the old place */
		link_status_request_restart(w->index);
		w->known = link_status_get(w->index, &w->status);
	}
}

/* True if a node is a member that is not removed. */
static bool
is_member(List *nodes, NodeId node)
{
	ListCell   *lc;

	foreach(lc, nodes)
	{
		NodeRow    *n = lfirst(lc);

		if (n->node_id == node)
			return strcmp(n->state, "removed") != 0;
	}
	return false;
}

/* True if all members know what this node knows; looked up once. */
static bool
view_is_common(int *known)
{
	if (*known < 0)
		*known = strcmp(sql_value("SELECT replication_plugin.view_is_common()", 0, NULL), "t") == 0;
	return *known;
}

/* Which links that nobody wants end: those from nodes that are removed, these as well, or all. */
typedef enum StopWhich
{
	STOP_REMOVED, STOP_REPLACED, STOP_ALL
} StopWhich;

/* Ends links that are not wanted. Returns true if they have ended. */
static bool
stop_unwanted(List *wanted, List *nodes, StopWhich which)
{
	int			common = -1;
	bool		ended = true;

	for (int i = 0; i < link_status_count(); i++)
	{
		LinkStatus	l;
		bool		is_wanted = false;
		ListCell   *lc;

		if (!link_status_get(i, &l) || l.dboid != MyDatabaseId)
			continue;
		foreach(lc, wanted)
			is_wanted |= ((WantedLink *) lfirst(lc))->provider == l.provider;
		if (is_wanted)
			continue;
		if (which != STOP_ALL && is_member(nodes, l.provider) &&
			!(which == STOP_REPLACED && (l.reroute || view_is_common(&common))))
			continue;
		stop_link(&l);
		ended &= link_status_release(i);
	}
	return ended;
}

bool
link_tender_stop_all(void)
{
	return stop_unwanted(NIL, NIL, STOP_ALL);
}

/* How many links have no place. */
static int
count_without_place(List *wanted)
{
	int			n = 0;
	ListCell   *lc;

	foreach(lc, wanted)
		n += ((WantedLink *) lfirst(lc))->index < 0;
	return n;
}

int
link_tender_round(LocalNode *local, List *nodes)
{
	List	   *wanted = wanted_links(local);
	bool		takes_part = strcmp(local->state, "ready") == 0 || strcmp(local->state, "leaving") == 0;
	bool		complete = true;
	bool		well;
	ListCell   *lc;

	if (judge_links(wanted, nodes))
		wanted = wanted_links(local);
	well = all_well(wanted);
	foreach(lc, wanted)
		complete &= stands(lfirst(lc));
	(void) stop_unwanted(wanted, nodes, !takes_part ? STOP_ALL : complete ? STOP_REPLACED : STOP_REMOVED);
	foreach(lc, wanted)
	{
		follow(lfirst(lc), nodes);
		tend_link(lfirst(lc), well);
	}
	return count_without_place(wanted);
}

void
link_tender_show_error(LocalNode *local, const char *message)
{
	ListCell   *lc;

	foreach(lc, wanted_links(local))
	{
		WantedLink *w = lfirst(lc);

		if (w->index >= 0)
			(void) link_status_set_failed(w->index, message);
	}
}
