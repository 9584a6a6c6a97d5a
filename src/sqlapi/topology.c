/*
 * topology.c
 *		SQL functions that compute links from a topology and the members.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/array.h"
#include "utils/builtins.h"

#include "base/compat.h"
#include "model/topology.h"

PG_FUNCTION_INFO_V1(replication_plugin_topology_plan);
PG_FUNCTION_INFO_V1(replication_plugin_topology_unreachable);

/* Limit on members: time and memory for computing the links grow with their cube. */
#define MOST_MEMBERS	128

/* Converts an integer[] argument to an array of node numbers. Returns their number. */
static int
node_array(ArrayType *array, NodeId **result)
{
	Datum	   *values;
	bool	   *nulls;
	int			n;

	deconstruct_array(array, INT4OID, 4, true, TYPALIGN_INT, &values, &nulls, &n);
	*result = palloc(Max(n, 1) * sizeof(NodeId));
	for (int i = 0; i < n; i++)
	{
		if (nulls[i])
			ereport(ERROR,
					(errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
					 errmsg("a list of nodes must not contain nulls")));
		(*result)[i] = DatumGetInt32(values[i]);
	}
	return n;
}

/* Returns node numbers as integer[]. */
static Datum
array_of_nodes(const NodeId *nodes, int n)
{
	Datum	   *values = palloc(Max(n, 1) * sizeof(Datum));

	for (int i = 0; i < n; i++)
		values[i] = Int32GetDatum(nodes[i]);
	return PointerGetDatum(construct_array(values, n, INT4OID, 4, true, TYPALIGN_INT));
}

/*
 * Reads arguments 0 to 4: shape, nodes, links, members, sources. Returns the links, without routes.
 */
static TopologyLinks *
read_topology(FunctionCallInfo fcinfo, TopologyMember **members, int *n)
{
	Topology	t = {0};
	NodeId	   *nodes,
			   *links,
			   *ids,
			   *sources;
	NodeId	   *ends;
	int			nlinks;
	char	   *shape = text_to_cstring(PG_GETARG_TEXT_PP(0));

	if (!topology_shape_from_text(shape, &t.shape))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there is no topology \"%s\"", shape),
				 errhint("Shapes are all_to_all, star, ring and custom.")));
	t.nnodes = node_array(PG_GETARG_ARRAYTYPE_P(1), &nodes);
	t.nodes = nodes;
	nlinks = node_array(PG_GETARG_ARRAYTYPE_P(2), &links) / 2;
	ends = palloc(Max(nlinks, 1) * 2 * sizeof(NodeId));
	for (int i = 0; i < nlinks; i++)
	{
		ends[i] = links[2 * i];
		ends[nlinks + i] = links[2 * i + 1];
	}
	t.nlinks = nlinks;
	t.providers = ends;
	t.subscribers = ends + nlinks;
	*n = node_array(PG_GETARG_ARRAYTYPE_P(3), &ids);
	if (node_array(PG_GETARG_ARRAYTYPE_P(4), &sources) != *n)
		elog(ERROR, "members and their sources differ in number");
	if (*n > MOST_MEMBERS || t.nlinks > MOST_MEMBERS * MOST_MEMBERS)
		ereport(ERROR,
				(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
				 errmsg("a group has at most %d members", MOST_MEMBERS)));
	*members = palloc(Max(*n, 1) * sizeof(TopologyMember));
	for (int i = 0; i < *n; i++)
		(*members)[i] = (TopologyMember) {ids[i], sources[i]};
	return topology_links(&t, *members, *n);
}

/*
 * topology_plan(shape, nodes, links, members, sources, me, down) → setof (provider, subscriber,
 * reroute, full_origins)
 */
Datum
replication_plugin_topology_plan(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *rsinfo = (ReturnSetInfo *) fcinfo->resultinfo;
	TopologyMember *members;
	TopologyLinks *l;
	NodeId	   *down;
	int			n,
				ndown;

	InitMaterializedSRF(fcinfo, 0);
	l = read_topology(fcinfo, &members, &n);
	ndown = node_array(PG_GETARG_ARRAYTYPE_P(6), &down);
	if (ndown > 0)
		topology_reroute(l, PG_GETARG_INT32(5), down, ndown, members, n);
	topology_route(l, members, n);
	for (int i = 0; i < l->n; i++)
	{
		TopologyLink *link = &l->links[i];
		Datum		values[4] = {Int32GetDatum(link->provider), Int32GetDatum(link->subscriber),
		BoolGetDatum(link->reroute), array_of_nodes(link->full, link->nfull)};
		bool		nulls[4] = {false};

		tuplestore_putvalues(rsinfo->setResult, rsinfo->setDesc, values, nulls);
	}
	return (Datum) 0;
}

/* topology_unreachable(shape, nodes, links, members, sources) → integer[] */
Datum
replication_plugin_topology_unreachable(PG_FUNCTION_ARGS)
{
	TopologyMember *members;
	int			n;
	TopologyLinks *l = read_topology(fcinfo, &members, &n);
	NodeId	   *unreachable = palloc(Max(n, 1) * sizeof(NodeId));
	int			count = topology_unreachable(l, members, n, unreachable);

	PG_RETURN_DATUM(array_of_nodes(unreachable, count));
}
