/*
 * link_tender.c
 *		Keeps the links of this node as the topology asks for.
 *
 * Each round computes the wanted links anew from the replicated rows (wanted_links()), and compares
 * them with the links that run:
 *
 * - A link that runs with other origins than wanted, or with an older protocol than both ends know
 *   as agreed, is restarted. It then begins at its confirmed position, and nothing that was received
 *   is kept (docs/protocol.md, Change of the full set, Versions).
 * - An obsolete link is stopped only after every wanted link streams or is given up, so that new
 *   streams are there before old ones end. If the obsolete link was part of the topology, all
 *   members must also know the same members and topology. A link from a removed node is stopped at
 *   once.
 * - A link that has not been connected for reroute_timeout is given up for the time being: the
 *   providers of its provider take its place until it is up to date again. If these are down as
 *   well, their providers do, and so on.
 * - A link that had to demand origins, because they did not come by their own way, is restarted
 *   without them when all links are up to date. The time until then doubles each time that it
 *   demands again.
 *
 * Only the given-up links are remembered here; a new manager finds them again.
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

/* doublings of the time after which a link is restarted without demanded origins */
#define MAX_DOUBLINGS	6
#define ATTACH_MS		10000	/* patience with a registered worker that has not attached */

static const char wanted_links_sql[] = "SELECT replication_plugin.tend_wanted_links($1::integer[])";
static const char view_is_common_sql[] = "SELECT replication_plugin.view_is_common()";

typedef struct WantedLink
{
	NodeId		provider;
	bool		reroute;
	/* part of a join: from the source, or from a node that joins through this one */
	bool		joining;
	bool		paused;
	int			protocol;		/* that its stream has at least if it is started now; 0: not known */
	char	   *origins;		/* 'own', 'all' or node numbers */
	int			index;			/* of its LinkStatus; -1: max_links are in use */
	LinkStatus	status;
	bool		known;			/* status is filled */
} WantedLink;

/* The dsn of a provider when this manager last looked; in TopMemoryContext. */
typedef struct Place
{
	NodeId		provider;
	char	   *dsn;
} Place;

/* ---------- wanted links ---------- */

/* Returns the given-up links as text of type integer[]. */
static char *
given_up_text(const LinkTender *tender)
{
	StringInfoData buf;
	ListCell   *lc;

	initStringInfo(&buf);
	foreach(lc, tender->given_up)
		appendStringInfo(&buf, "%c%d", buf.len ? ',' : '{', lfirst_int(lc));
	appendStringInfoString(&buf, buf.len ? "}" : "{}");
	return buf.data;
}

/* Adds a wanted link, with its status. */
static List *
add_wanted(List *wanted, NodeId provider, char kind, bool paused, int protocol, char *origins)
{
	WantedLink *w = palloc0(sizeof(WantedLink));

	w->provider = provider;
	w->reroute = kind == 'r';
	w->joining = kind == 'j';
	w->paused = paused;
	w->protocol = protocol;
	w->origins = origins;
	w->index = link_status_find(MyDatabaseId, provider, true);
	if (w->index >= 0)
	{
		link_status_set_reroute(w->index, w->reroute);
		w->known = link_status_get(w->index, &w->status);
	}
	return lappend(wanted, w);
}

/* Parses "provider kind paused protocol origins; ...". The kinds are t(opology), r(eroute) and j(oining). */
static List *
parse_wanted(char *text)
{
	List	   *wanted = NIL;
	char	   *save = NULL;

	for (char *item = text ? strtok_r(text, ";", &save) : NULL; item;
		 item = strtok_r(NULL, ";", &save))
	{
		int			provider,
					paused,
					protocol,
					used = 0;
		char		kind;

		if (sscanf(item, "%d %c %d %d %n", &provider, &kind, &paused, &protocol, &used) != 4 ||
			used == 0)
			elog(ERROR, "malformed list of links: \"%s\"", item);
		wanted = add_wanted(wanted, provider, kind, paused != 0, protocol, item + used);
	}
	return wanted;
}

/* Returns the links that this node should have. */
static List *
wanted_links(const LinkTender *tender, LocalNode *local)
{
	const char *params[1];

	if (strncmp(local->state, "joining", 7) == 0)
		return sql_link_exists(local->source_id) ?
			add_wanted(NIL, local->source_id, 'j', sql_link_paused(local->source_id), 0, "all") : NIL;
	if (strcmp(local->state, "ready") != 0 && strcmp(local->state, "leaving") != 0)
		return NIL;
	params[0] = given_up_text(tender);
	return parse_wanted(sql_value(wanted_links_sql, 1, params));
}

/* ---------- links that are down ---------- */

/* Returns true if a link has not reached its provider for reroute_timeout. */
static bool
is_down(const WantedLink *w)
{
	const LinkStatus *l = &w->status;

	return w->known && !w->paused && l->down_since != 0 && !l->apply_failed &&
		moment_is_past(l->down_since, setting_reroute_timeout);
}

/*
 * Gives up links that are down, and takes back those that are up to date. Returns true if something
 * has changed.
 */
static bool
judge_links(LinkTender *tender, List *wanted, List *nodes)
{
	List	   *now = NIL;
	bool		changed;
	ListCell   *lc;
	MemoryContext old;

	foreach(lc, wanted)
	{
		WantedLink *w = lfirst(lc);
		bool		was = list_member_int(tender->given_up, w->provider);

		if (w->joining || !(is_down(w) || (was && w->status.state != LINK_STREAMING)))
			continue;
		now = lappend_int(now, w->provider);
		if (!was)
			ereport(LOG,
					(errmsg("link from node \"%s\" has been down for %d ms: what it carries is taken from other nodes, where there is a way",
							nodes_name_in(nodes, w->provider), setting_reroute_timeout)));
	}
	foreach(lc, tender->given_up)
	{
		if (!list_member_int(now, lfirst_int(lc)))
			ereport(LOG, (errmsg("link from node \"%s\" is back, or no longer wanted", nodes_name_in(nodes, lfirst_int(lc)))));
	}
	changed = list_difference_int(now, tender->given_up) != NIL ||
			  list_difference_int(tender->given_up, now) != NIL;
	list_free(tender->given_up);
	old = MemoryContextSwitchTo(TopMemoryContext);
	tender->given_up = list_copy(now);
	MemoryContextSwitchTo(old);
	return changed;
}

/*
 * Returns true if a link streams, or need not be waited for (paused, joining, given up, or failed
 * in applying).
 */
static bool
link_tender_stands(const LinkTender *tender, const WantedLink *w)
{
	return w->paused || w->joining || list_member_int(tender->given_up, w->provider) ||
		(w->known && (w->status.apply_failed || (w->status.pid != 0 && w->status.down_since == 0)));
}

/* Returns true if all links of the topology and all reroutes are up to date. */
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

/* Terminates the worker of a link. */
static void
stop_link(const LinkStatus *l)
{
	if (l->pid != 0)
		kill(l->pid, SIGTERM);
}

/*
 * Returns true if a running link asks for other origins than it should, or speaks an older protocol
 * than both ends know as agreed.
 */
static bool
is_outdated(const WantedLink *w, bool well)
{
	const LinkStatus *l = &w->status;

	if (l->down_since != 0 || l->wanted_origins[0] == '\0')
		return false;
	if (strncmp(l->wanted_origins, w->origins, LINK_ORIGINS_SIZE - 1) != 0 ||
		l->protocol < w->protocol)
		return true;
	return well && l->demanded_at != 0 &&
		   moment_is_past(l->demanded_at,
						  (int64) setting_reroute_timeout << Min(l->demands - 1, MAX_DOUBLINGS));
}

/* Starts, stops or restarts one wanted link as needed. */
static void
tend_link(WantedLink *w, bool well)
{
	LinkStatus *l = &w->status;

	if (!w->known)
		return;
	Assert(w->index >= 0);
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

/* Returns the dsn of a provider as last seen; the entry is made at first sight. */
static Place *
link_tender_place_of(LinkTender *tender, NodeRow *n)
{
	ListCell   *lc;
	MemoryContext old;
	Place	   *p;

	foreach(lc, tender->places)
	{
		p = lfirst(lc);
		if (p->provider == n->node_id)
			return p;
	}
	old = MemoryContextSwitchTo(TopMemoryContext);
	p = palloc(sizeof(Place));
	*p = (Place) {n->node_id, pstrdup(n->dsn)};
	tender->places = lappend(tender->places, p);
	MemoryContextSwitchTo(old);
	return p;
}

/* Restarts the link from a provider that has a new dsn. */
static void
link_tender_follow(LinkTender *tender, WantedLink *w, List *nodes)
{
	ListCell   *lc;

	foreach(lc, nodes)
	{
		NodeRow    *n = lfirst(lc);
		Place	   *p;

		if (n->node_id != w->provider || w->index < 0)
			continue;
		p = link_tender_place_of(tender, n);
		if (strcmp(p->dsn, n->dsn) == 0)
			return;
		pfree(p->dsn);
		p->dsn = MemoryContextStrdup(TopMemoryContext, n->dsn);
		ereport(LOG, (errmsg("link from node \"%s\" follows it to another place", n->node_name)));
		if (w->known && w->status.pid != 0 && w->status.down_since != 0)
			stop_link(&w->status);	/* it may be trying the old dsn */
		link_status_request_restart(w->index);
		w->known = link_status_get(w->index, &w->status);
	}
}

/* Returns true if a node is a member that is not removed. */
static bool
link_tender_is_member(List *nodes, NodeId node)
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

/*
 * Returns true if the group's view is common to all members. The query runs once, for *known < 0.
 */
static bool
view_is_common(int *known)
{
	if (*known < 0)
		*known = strcmp(sql_value(view_is_common_sql, 0, NULL), "t") == 0;
	return *known;
}

/*
 * Which obsolete links are stopped: those from removed nodes, also those that are replaced, or all.
 */
typedef enum StopWhich
{
	STOP_REMOVED, STOP_REPLACED, STOP_ALL
} StopWhich;

/* Stops links that are not wanted. Returns true if they have ended. */
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
		if (which != STOP_ALL && link_tender_is_member(nodes, l.provider) &&
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

/* Returns the number of wanted links for which there is no LinkStatus. */
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
link_tender_round(LinkTender *tender, LocalNode *local, List *nodes)
{
	List	   *wanted = wanted_links(tender, local);
	bool takes_part = strcmp(local->state, "ready") == 0 || strcmp(local->state, "leaving") == 0;
	bool		complete = true;
	bool		well;
	ListCell   *lc;

	if (judge_links(tender, wanted, nodes))
		wanted = wanted_links(tender, local);
	well = all_well(wanted);
	foreach(lc, wanted)
		complete &= link_tender_stands(tender, lfirst(lc));
	(void) stop_unwanted(wanted, nodes,
						 !takes_part ? STOP_ALL
						 : complete	 ? STOP_REPLACED
									 : STOP_REMOVED);
	foreach(lc, wanted)
	{
		link_tender_follow(tender, lfirst(lc), nodes);
		tend_link(lfirst(lc), well);
	}
	return count_without_place(wanted);
}

void
link_tender_show_error(const LinkTender *tender, LocalNode *local, const char *message)
{
	ListCell   *lc;

	foreach(lc, wanted_links(tender, local))
	{
		WantedLink *w = lfirst(lc);

		if (w->index >= 0)
			(void) link_status_set_failed(w->index, message);
	}
}
