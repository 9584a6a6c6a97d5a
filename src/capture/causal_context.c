/*
 * causal_context.c
 *		Text form of causal contexts: what a client has read of a row.
 */
#include "postgres.h"

#include "utils/guc.h"

#include "base/number_text.h"
#include "capture/causal_context.h"
#include "catalog/nodes.h"
#include "shared/local_frontier.h"

static char *setting_causal_context = NULL;

char *
causal_context_to_text(const SiblingSet *set)
{
	StringInfoData buf;

	initStringInfo(&buf);
	for (int i = 0; i < set->n; i++)
	{
		Version		v = set->items[i].version;

		if (version_is_oldest(v))
			appendStringInfo(&buf, "%s-", i ? "," : "");
		else
			appendStringInfo(&buf, "%s%d:" INT64_FORMAT, i ? "," : "", v.node, v.ts);
	}
	if (set->n == 0)
		appendStringInfoString(&buf, "none");
	return buf.data;
}

/*
 * Reads one version, up to a comma or the end. Returns NULL if it is malformed, or if no write can
 * have it.
 */
static const char *
parse_version(const char *p, Version *v)
{
	if (*p == '-')
	{
		*v = VERSION_OLDEST;
		return p + 1;
	}
	if (!number_read_node(&p, &v->node) || *p++ != ':' || !number_read_int64(&p, &v->ts) ||
		version_is_oldest(*v) || version_is_self(*v))
		return NULL;
	return p;
}

bool
causal_context_parse(const char *text, Version **read, int *nread)
{
	int			room = 1;
	const char *p = text;

	for (const char *c = text; *c; c++)
		room += *c == ',';
	*read = palloc(room * sizeof(Version));
	*nread = 0;
	if (strcmp(text, "none") == 0)
		return true;
	for (;;)
	{
		p = parse_version(p, &(*read)[*nread]);
		if (!p)
			return false;
		(*nread)++;
		if (*p == '\0')
			return true;
		if (*p++ != ',')
			return false;
	}
}

bool
causal_context_current(Version **read, int *nread)
{
	if (!setting_causal_context || setting_causal_context[0] == '\0')
		return false;
	return causal_context_parse(setting_causal_context, read, nread);
}

/*
 * Returns true if this node has had a write; writes of one node arrive in their order. This is
 * called only if neither the siblings nor the seen vector decide.
 */
static bool
is_applied(Version v)
{
	NodeId		me = nodes_local_id();

	return v.node == me || v.ts <= frontier_ts(local_frontier(me), v.node);
}

bool
causal_context_covered(const SiblingSet *set, const Frontier *seen, const Version *read, int nread)
{
	for (int i = 0; i < nread; i++)
	{
		bool here = version_is_oldest(read[i]) || read[i].ts <= frontier_ts(seen, read[i].node);

		for (int k = 0; k < set->n && !here; k++)
			here = version_cmp(set->items[k].version, read[i]) == 0;
		/* a later write of the same node has arrived here, so this one has arrived as well */
		for (int k = 0; k < set->n && !here; k++)
			here = set->items[k].version.node == read[i].node &&
				   version_cmp(set->items[k].version, read[i]) > 0;
		if (!here && !is_applied(read[i]))
			return false;
	}
	return true;
}

/* GUC check hook: refuses a text that is not a context. */
static bool
check_setting(char **value, void **extra, GucSource source)
{
	Version    *read;
	int			n;

	if (*value == NULL || **value == '\0' || causal_context_parse(*value, &read, &n))
		return true;
	GUC_check_errdetail("A causal context is what replication_plugin.causal_context() returns.");
	return false;
}

void
causal_context_define_setting(void)
{
	DefineCustomStringVariable(
		"replication_plugin.causal_context",
		"What the client had read of the rows of mergeable tables that it writes: only that is replaced.",
		"The text that replication_plugin.causal_context() has returned. Empty: all that this node has is replaced.",
		&setting_causal_context, "", PGC_USERSET, 0, check_setting, NULL, NULL);
}
