/*
 * history.h
 *		A group in memory, for random histories (history.c).
 *
 * The model of the protocol (docs/protocol.md): nodes with a WAL that is flushed or lost,
 * last-write-wins rows and tombstones, frontiers and frontier rows, group slots, links that carry
 * transactions or stubs. What decides is the product's code: model/frontier.c (gate, vectors),
 * model/stable.c, model/topology.c.
 *
 * Beside it each node has a shadow, by which the checks judge: how many transactions of each origin it has
 * applied, counted without gaps. Nothing that decides looks at it.
 *
 *	history_node.c	one node: commits, applying, stable vector, group slot, tombstones, crashes
 *	history_link.c	streams: stubs, gate, demand, feedback; which links a node wants
 *	history_group.c	joins, losses, removals
 *	history.c		random actions, the end, checks of the whole
 */
#ifndef HISTORY_H
#define HISTORY_H

#include "lib/stringinfo.h"

#include "base/compat.h"
#include "model/frontier.h"
#include "model/stable.h"
#include "model/topology.h"

#define MAX_NODES	8
#define MAX_KEYS	4
#define MAX_OPS		3
#define MAX_NOTES	8
#define PATIENCE	3			/* tries at a stub before a link asks for the origin */

typedef uint32 NodeSet;			/* a bit per node number */

#define BIT(node)	((NodeSet) 1 << (node))
#define ALL_NODES	(~(NodeSet) 0)

/* A rule of the protocol that can be broken on purpose. */
typedef enum Rule
{
	RULE_NONE,
	RULE_GATE,
	RULE_FEEDBACK,
	RULE_FEEDBACK_RECEIVED,
	RULE_DEMAND,
	RULE_STUB_ORDER,
	RULE_FORWARD_EMPTY,
	RULE_RESTART,
	RULE_SLOT_COPY,
	RULE_STABLE_MINIMUM,
	RULE_OWN_ROW,
	RULE_REMOVED_KEPT,
	RULE_FENCE,
	RULE_JOIN_SNAPSHOT,
	RULE_JOIN_SINGLE_LINK,
	RULE_JOIN_COUNTS,
	RULE_JOIN_READY,
	RULE_JOIN_READY_ONLY,
	RULE_JOIN_OPEN,
	RULE_JOIN_GROUP_SLOT,
	RULE_JOIN_FLUSH,
	RULE_TOMBSTONES,
	RULE_ROW_TRAFFIC,
	RULE_CLOCK,
	RULE_CLOCK_RESTART,
	RULE_MAKE_FIRST,
	RULE_COMMON_VIEW
} Rule;

/* A frontier that can be copied as a value. Used through vec() only. */
typedef struct Vec
{
	Frontier	f;
	FrontierEntry room[MAX_NODES];
} Vec;

/* The frontier in a Vec; it never needs more room. */
static inline Frontier *
vec(Vec *v)
{
	v->f.entries = v->room;
	v->f.capacity = MAX_NODES;
	return &v->f;
}

/* ---------- transactions ---------- */

typedef enum OpKind
{
	OP_PUT,
	OP_DELETE,
	OP_ROW,						/* a frontier row */
	OP_ADMIT,
	OP_READY,
	OP_REMOVE,
	OP_TOPOLOGY
} OpKind;

/* A topology as it was set; never changed after that. */
typedef struct Setting
{
	int			serial;
	NodeId		set_by;
	Topology	t;
} Setting;

typedef struct Op
{
	OpKind		kind;
	int			key;			/* of a row */
	int			value;
	NodeId		node;			/* of a change of the members */
	NodeSet		fenced;			/* in a frontier row or an admission */
	uint64		view;			/* in a frontier row */
	Vec		   *vector;			/* of a frontier row, or the frontier at an admission */
	const Setting *setting;
} Op;

typedef struct Txn
{
	NodeId		origin;
	XLogRecPtr	lsn;
	TimestampTz ts;
	bool		significant;	/* more than a frontier row */
	int			nops;
	Op			ops[MAX_OPS];
	/* for the checks */
	int			seq;			/* the origin's transactions, counted */
	int			saw[MAX_NODES + 1]; /* what its node had applied */
	XLogRecPtr	stable[MAX_NODES + 1];	/* what was stable there */
} Txn;

typedef enum EntryKind
{
	ENTRY_OWN,
	ENTRY_FOREIGN,
	ENTRY_REPAIR				/* never decoded */
} EntryKind;

/* A commit in a WAL; its position is its number, counted from 1. */
typedef struct Entry
{
	Txn		   *txn;
	EntryKind	kind;
	int			accepted;		/* ops that did not lose here (a bit each): what is forwarded */
} Entry;

/* ---------- nodes ---------- */

typedef struct Member
{
	bool		known;
	bool		ready;
	bool		removed;
	NodeId		source;
	XLogRecPtr	admitted_at;	/* LSN of its source */
	Vec			admission;		/* the source's frontier then */
	bool		has_row;
	Version		row_version;
	Vec			row;			/* its last frontier row */
	NodeSet		fenced;			/* as that row says, or its admission */
	uint64		view;			/* likewise; 0 before the first row */
} Member;

typedef struct Row
{
	bool		present;
	bool		live;			/* else a tombstone */
	Version		version;		/* as far as the node knows */
	Version		written;		/* really */
	int			value;
	XLogRecPtr	position;		/* in this WAL */
} Row;

/* What a crash sets back to the last flush. */
typedef struct State
{
	Vec			frontier;		/* of others' transactions */
	Vec			stable;
	Vec			slot_vector;	/* what the group slot stands for */
	bool		has_stable;		/* false while joining */
	Member		members[MAX_NODES + 1];
	const Setting *setting;
	Row			rows[MAX_KEYS];
	TimestampTz max_seen;
	/* for the checks */
	int			seq[MAX_NODES + 1]; /* transactions of each origin that are here */
	bool		was_collected[MAX_KEYS];
	Version		collected[MAX_KEYS];	/* newest delete whose tombstone is gone */
} State;

/* A position before which everything is covered by a vector (group_worker.c). */
typedef struct Note
{
	XLogRecPtr	position;
	Vec			covers;
} Note;

typedef enum Stage
{
	STAGE_UNUSED,				/* a number that no node has yet */
	STAGE_COPIED,				/* slot and snapshot are made, not admitted yet */
	STAGE_ADMITTED,				/* rows are being copied */
	STAGE_STREAMING,
	STAGE_READY
} Stage;

/* Links that a node wants, by provider. */
typedef struct LinkPlan
{
	NodeSet		providers;
	NodeSet		reroutes;
	NodeSet		joining;
	NodeSet		full[MAX_NODES + 1];
} LinkPlan;

typedef struct SimNode
{
	NodeId		id;
	Stage		stage;
	bool		up;
	bool		dead;			/* never comes back */
	bool		out;			/* knows that it is removed */
	bool		leaving;		/* takes no more local writes */
	bool		again;			/* its join must start over */
	NodeId		source;
	XLogRecPtr	admitted_at;
	XLogRecPtr	ready_at;		/* LSN of its ready row */
	Vec			admitted_stable;
	int64		skew;
	State		now;
	State		disk;
	Entry	   *wal;
	XLogRecPtr	end;
	XLogRecPtr	room;
	XLogRecPtr	flushed;
	/* the group slot */
	bool		slot_made;
	XLogRecPtr	slot;
	XLogRecPtr	slot_saved;
	int			nnotes;
	Note		notes[MAX_NOTES];
	/* lost in a crash */
	bool		row_written;	/* in this run */
	XLogRecPtr	last_row;
	XLogRecPtr	last_significant;
	NodeSet		told_fenced;
	uint64		told_view;
	NodeSet		given_up;		/* links that are down, as judged here */
	LinkPlan	plan;
	bool		has_plan;
	uint64		plan_key[4];
	/* for the checks */
	int			promised;		/* its transactions that must arrive everywhere, though it left */
} SimNode;

/* ---------- links ---------- */

typedef struct Message
{
	XLogRecPtr	end;			/* position in the provider's WAL */
	Txn		   *txn;			/* NULL: a stub */
	int			ops;
	Vec		   *seen;			/* of a stub */
} Message;

/* A position of the stream that may be confirmed when the local WAL is flushed so far. */
typedef struct Passed
{
	XLogRecPtr	remote;
	XLogRecPtr	local;
} Passed;

/* A queue of fixed elements: those from head to tail. */
typedef struct Queue
{
	int			head;
	int			tail;
	int			room;
	void	   *items;
} Queue;

typedef struct Slot
{
	bool		made;
	XLogRecPtr	confirmed;
	XLogRecPtr	saved;			/* survives a crash */
	bool		has_base;
	XLogRecPtr	base_at;
	Vec			base;
} Slot;

typedef struct Link
{
	NodeId		provider;
	NodeId		subscriber;
	bool		wanted;			/* by the subscriber; at least not ended yet */
	bool		connected;
	bool		cut;			/* the network is down */
	bool		reroute;
	int			forgets;		/* how often it has tried to do without what it had to ask for */
	NodeSet		full;
	NodeSet		demanded;
	Slot		slot;			/* at the provider; outlives the link */
	/* the stream */
	NodeSet		carries;		/* origins in full */
	XLogRecPtr	sent;
	Vec			held;			/* stubs that are held back */
	XLogRecPtr	held_end;
	Queue		messages;
	Queue		passed;
	int			waits;
} Link;

/* ---------- the group ---------- */

typedef struct Figures
{
	int64		transactions;
	int64		rows;
	int64		stubs;
	int64		full;
	int64		covered;
	int64		demands;
	int64		crashes;
	int64		lost_in_crash;
	int64		links;
	int64		copies;			/* slots copied from a group slot that had moved */
	int64		reroutes;
	int64		topologies;
	int64		joins;
	int64		ready;
	int64		lost;
	int64		removals;
	int64		moves;			/* of group slots */
	int64		collected;
} Figures;

typedef struct Sim
{
	Rule		broken;
	bool		notes;			/* group slots move by notes, else transaction by transaction */
	bool		gather;			/* stubs are held back as long as possible */
	int64		clock;
	int			serial;			/* of values */
	NodeSet		suspects;		/* dead, or removed by anybody */
	SimNode		nodes[MAX_NODES + 1];
	Link		links[MAX_NODES + 1][MAX_NODES + 1];	/* provider, subscriber */
	Figures		figures;
	StringInfo	trace;			/* or NULL */
} Sim;

extern Sim	sim;

#define SAY(...) \
	do { \
		if (sim.trace) \
			appendStringInfo(sim.trace, __VA_ARGS__); \
	} while (0)

#define BROKEN(rule) (sim.broken == (rule))

/* Ends the history: a rule of the protocol does not hold. */
pg_noreturn extern void violated(const char *fmt,...) pg_attribute_printf(1, 2);

/* True if a number is a node's. */
static inline bool
is_node(NodeId node)
{
	return node >= 1 && node <= MAX_NODES && sim.nodes[node].stage != STAGE_UNUSED;
}

/* True if a node is running, and has not been told that it is out. */
static inline bool
is_running(const SimNode *x)
{
	return x->stage != STAGE_UNUSED && x->up && !x->out;
}

/* True if a node takes part as far as it knows. */
static inline bool
is_active(const SimNode *x)
{
	return is_running(x) && x->stage == STAGE_READY;
}

/* A member as one node sees it: ready and not removed. */
static inline bool
is_peer(const Member *m)
{
	return m->known && m->ready && !m->removed;
}

/* history_node.c */
extern void node_frontier(SimNode *x, Vec *v);
extern Txn *node_write(SimNode *x, const Op *ops, int nops, bool significant);
extern void node_apply(SimNode *x, Txn *t, int ops, NodeId via);
extern bool node_is_announced(SimNode *x);
extern bool node_is_open(SimNode *x);
extern void node_clear_suspects(bool late);
extern bool node_flush(SimNode *x);
extern NodeSet node_fenced(SimNode *x);
extern bool node_view_is_common(SimNode *x);
extern bool node_tell(SimNode *x, bool force);
extern bool node_advance(SimNode *x);
extern void node_collect(SimNode *x);
extern void node_crash(SimNode *x);
extern void node_start(SimNode *x);

/* history_link.c */
extern bool link_send(Link *l, int count);
extern bool link_receive(Link *l, int count);
extern bool link_confirm(Link *l);
extern void link_drop_stream(Link *l);
extern TopologyLinks *links_plan(SimNode *x, NodeSet down, TopologyMember *members, int *n);
extern bool links_tend(SimNode *x, bool overdue);

/* history_group.c */
extern void group_start(int n, const Setting *setting);
extern bool group_join(NodeId j, NodeId source);
extern bool group_admit(SimNode *j);
extern bool group_open(SimNode *j);
extern bool group_become_ready(SimNode *j);
extern bool group_lose(SimNode *x);
extern bool group_remove(SimNode *by, SimNode *x);
extern bool group_leave(SimNode *by, SimNode *x);
extern bool group_remove_orphans(SimNode *by);

#endif							/* HISTORY_H */
