/* splice.pml - the splice between history and live publications of one channel.
 *
 *     Publisher, stream and feed       Reader (a worker)        Home            Client (with its shard)
 *       publish -> store, prev           gap, last                |  <-- ask, leave --  subscribe,
 *          |-> pend -> live ---------------- fetch -------------> |                     unsubscribe
 *       lose, down, up -> gap event          proof --- answer --> |  -- answer, pub, ->
 *                                                                 |     off, error
 *
 * Every arrow is first in, first out, and takes as long as it likes. Publications
 * are their sequence numbers, so what somebody holds is a set of bits. What is
 * modelled, what is not and why: README.md. The bounds (and M_*, the mutations)
 * come with -D from check-splice. INPROC: no bus, the home numbers and keeps. */

#ifndef NC
#define NC 1 /* clients, each on a shard of its own */
#endif
#ifndef SEQS
#define SEQS 4 /* messages of the stream, at most 7 */
#endif
#ifndef KEEP
#define KEEP 2 /* publications of the channel that the store keeps */
#endif
#ifndef HOLD
#define HOLD 2 /* publications held back while a read runs */
#endif
#ifndef FOREIGN
#define FOREIGN 0 /* messages of other channels in the stream */
#endif
#ifndef DOWNS
#define DOWNS 0 /* times the connection is lost */
#endif
#ifndef SLOWS
#define SLOWS 0 /* publications dropped by a slow consumer, counted at once */
#endif
#ifndef QUIET
#define QUIET 0 /* publications that get lost and nobody counts it */
#endif
#ifndef EXPIRES
#define EXPIRES 0 /* messages that end by age */
#endif
#ifndef ERRORS
#define ERRORS 0 /* reads that fail */
#endif
#ifndef UNSUBS
#define UNSUBS 1 /* times each client unsubscribes */
#endif
#ifndef ROAMS
#define ROAMS 0 /* times each client hears something on another node meanwhile */
#endif
#ifndef RELEASES
#define RELEASES 0 /* times the home lets an idle channel go */
#endif

#define BIT(s) (1 << (s))
#define UPTO(s) (BIT((s) + 1) - 1)
#define ABOVE(s) (255 & ~UPTO(s))
#define LOWEST(m) \
    (((m) & 2) -> 1 : (((m) & 4) -> 2 : (((m) & 8) -> 3 : (((m) & 16) -> 4 : \
    (((m) & 32) -> 5 : (((m) & 64) -> 6 : (((m) & 128) -> 7 : 0)))))))
#define HIGHEST(m) \
    (((m) & 128) -> 7 : (((m) & 64) -> 6 : (((m) & 32) -> 5 : (((m) & 16) -> 4 : \
    (((m) & 8) -> 3 : (((m) & 4) -> 2 : (((m) & 2) -> 1 : 0)))))))
#define BITS(m) \
    ((((m) >> 1) & 1) + (((m) >> 2) & 1) + (((m) >> 3) & 1) + (((m) >> 4) & 1) + \
     (((m) >> 5) & 1) + (((m) >> 6) & 1) + (((m) >> 7) & 1))
#define MAX(a, b) ((a) > (b) -> (a) : (b))
#define MIN(a, b) ((a) < (b) -> (a) : (b))

/* --- what has been published ------------------------------------------------ */

byte seq;   /* of the stream's last message */
byte own;   /* the channel's publications, all there ever were */
byte store; /* those of them that are stored */
byte epoch; /* of the stream: INPROC forgets streams */

/* --- letters ---------------------------------------------------------------- */

mtype = { ASK, LEAVE, PUB, ANSWER, OFF, FAIL };
mtype = { NONE, ASKING, LIVE, TAKEN };

#define ROOM 8
/* ASK: generation, has a position?, position, its epoch. */
chan asks[NC] = [ROOM] of { mtype, byte, bool, byte, byte };
/* PUB: sequence, -, -, -, epoch. ANSWER: generation, recovered?, top, set of
 * publications, epoch. FAIL: generation. */
chan news[NC] = [ROOM] of { mtype, byte, bool, byte, byte, byte };

/* --- the client and its shard ----------------------------------------------- */

mtype state[NC] = NONE;
byte pos[NC];

#define post(c, kind, a, b, d, e) \
    assert(nfull(news[c])); \
    news[c]!kind, a, b, d, e, epoch

#define leave_if_quiet() \
    if \
    :: (state[id] == NONE || state[id] == TAKEN) && asking == 0 -> \
        assert(nfull(asks[id])); \
        asks[id]!LEAVE, 0, false, 0, 0 \
    :: else \
    fi

/* The client sees publication s. */
inline see(s)
{
    assert(state[id] == LIVE);                         /* none before the reply */
    assert(s > pos[id]);                               /* not twice, in order */
    assert((own & ABOVE(pos[id]) & UPTO(s - 1)) == 0); /* no hole */
    before = pos[id];
    pos[id] = s;
}

inline see_answer(recovered, top, set)
{
    state[id] = LIVE;
    if
    :: !recovered ->
#ifndef NOT_HONEST
        /* It is told; but not where the last it saw is stored still. */
        assert(!positioned || was != epoch_told || !(store & BIT(pos[id])));
#endif
        pos[id] = top;
        positioned = true
    :: else ->
        assert(positioned && was == epoch_told);
        assert(set == (own & ABOVE(pos[id]) & UPTO(HIGHEST(set))));
        pos[id] = (set -> HIGHEST(set) : pos[id])
    fi;
    before = pos[id];
    was = epoch_told
}

proctype Client(byte id)
{
    byte gen, asking, unsubs, roams;
    byte before;     /* the position before the last publication seen */
    byte was;        /* the epoch of the position */
    bool positioned; /* it has a position to come back with */
    byte a, d, e, epoch_told;
    bool b;

end:
    do
    :: atomic { state[id] == NONE ->
        gen++;
        asking++;
        state[id] = ASKING;
        assert(nfull(asks[id]));
        asks[id]!ASK, gen, positioned, pos[id], was
       }
    :: atomic { state[id] != NONE && state[id] != TAKEN && unsubs < UNSUBS ->
        unsubs++;
        if
        :: true
        :: state[id] == LIVE && before != pos[id] -> pos[id] = before /* lost on its way */
        fi;
        state[id] = NONE;
        before = pos[id];
        leave_if_quiet()
       }
#if ROAMS
    :: atomic { state[id] == NONE && positioned && roams < ROAMS && (own & ABOVE(pos[id])) ->
        roams++;
        do
        :: (own & ABOVE(pos[id])) -> pos[id] = LOWEST(own & ABOVE(pos[id]))
        :: true -> break
        od;
        before = pos[id]
       }
#endif
    /* 2500, told when its turn comes. */
    :: atomic { state[id] == TAKEN -> state[id] = NONE; before = pos[id] }
#ifdef M_TOLD_LATE
    :: atomic { a == 255 && state[id] == LIVE -> a = 0; state[id] = NONE; leave_if_quiet() }
#endif
    :: atomic { news[id]?PUB, a, _, _, _, epoch_told ->
        if
#ifdef M_LIVE_BEFORE_REPLY
        :: state[id] == ASKING -> see(a)
#endif
        :: state[id] == LIVE ->
            see(a);
            assert(epoch_told == was)
        :: else
        fi;
        a = 0; epoch_told = 0
       }
    :: atomic { news[id]?ANSWER, a, b, d, e, epoch_told ->
        asking--;
        if
#ifdef M_NO_GENERATION
        :: state[id] == ASKING -> see_answer(b, d, e)
#else
        :: state[id] == ASKING && a == gen -> see_answer(b, d, e)
#endif
        :: else
        fi;
        leave_if_quiet();
        a = 0; b = false; d = 0; e = 0; epoch_told = 0
       }
    :: atomic { news[id]?FAIL, a, _, _, _, _ ->
        asking--;
        if
        :: state[id] == ASKING && a == gen -> state[id] = NONE
        :: else
        fi;
        leave_if_quiet();
        a = 0
       }
    :: atomic { news[id]?OFF, _, _, _, _, _ ->
        if
#ifdef M_TOLD_LATE
        :: state[id] == LIVE -> a = 255
#else
        :: state[id] == LIVE -> state[id] = TAKEN; leave_if_quiet()
#endif
        :: else
        fi
       }
    od
}

/* --- what both homes do ----------------------------------------------------- */

byte interest; /* set of clients */
byte top, floor, ring;
byte i, t, g, p, q, w; /* for the length of one step */

inline tell_all(kind, s)
{
    for (i : 0 .. NC - 1) {
        if
        :: interest & BIT(i) -> post(i, kind, s, false, 0, 0)
        :: else
        fi
    }
    i = 0
}

/* A publication enters ring and letters. */
inline take(s)
{
    top = s;
    ring = ring | BIT(s);
    do
    :: BITS(ring) > KEEP ->
        floor = LOWEST(ring);
        ring = ring & ~BIT(floor)
    :: else -> break
    od;
    tell_all(PUB, s)
}

/* floor <= P <= top: what came after P is known exactly. */
#define IS_KNOWN(P) (floor <= (P) && (P) <= top)

inline answer(c, generation, has, P, ep)
{
    if
    :: has && ep == epoch && IS_KNOWN(P) -> post(c, ANSWER, generation, true, top, ring & ABOVE(P))
    :: else -> post(c, ANSWER, generation, false, top, 0)
    fi
}

#ifdef INPROC
/* --- without a bus ---------------------------------------------------------- */

byte expires, forgets, late;
chan later = [2] of { byte, byte };

inline on_ask()
{
    interest = interest | BIT(w);
#ifdef M_ANSWER_OVERTAKEN
    if
    :: !p && len(later) == 0 -> late = top; later!w, g
    :: else -> answer(w, g, p, q, t)
    fi
#else
    answer(w, g, p, q, t)
#endif
}

proctype Home()
{
end:
    do
    :: atomic { seq < SEQS ->
        seq++;
        own = own | BIT(seq);
        take(seq);
        store = ring
       }
    :: atomic { expires < EXPIRES && ring -> /* the list ends by age */
        expires++;
        floor = top;
        ring = 0;
        store = 0
       }
#ifdef FORGETS
    :: atomic { forgets < FORGETS && seq > 0 -> /* the stream goes, with its epoch */
        forgets++;
#ifndef M_FORGET_SILENTLY
        tell_all(OFF, 0);
#endif
        epoch++;
        floor = top;
        ring = 0;
        store = 0
       }
#endif
#ifdef M_ANSWER_OVERTAKEN
    :: atomic { later?w, g -> post(w, ANSWER, g, false, late, 0); late = 0; w = 0; g = 0 }
#endif
    :: atomic {
        if
        :: nempty(asks[0]) -> w = 0
#if NC > 1
        :: nempty(asks[1]) -> w = 1
#endif
        fi;
        if
        :: asks[w]?ASK, g, p, q, t -> on_ask()
        :: asks[w]?LEAVE, _, _, _, _ -> interest = interest & ~BIT(w)
        fi;
        w = 0; g = 0; p = 0; q = 0; t = 0
       }
    od
}

proctype End()
{
    timeout ->
    for (i : 0 .. NC - 1) {
        assert(state[i] == LIVE && (own & ABOVE(pos[i])) == 0)
    }
}

init { atomic { for (i : 0 .. NC - 1) { run Client(i) } i = 0; run Home(); run End() } }

#else
/* --- the bus ---------------------------------------------------------------- */

byte foreign;         /* stored messages of other channels */
byte prev[SEQS + 1];  /* of each publication: the one before it, 0 when gone */
byte stamp[SEQS + 1]; /* of each: the count of gaps when it was delivered */
byte gaps;            /* the bus's count of possible gaps */
bool up = true;       /* the connection */
bool wanted, subbed;  /* the channel's SUB: asked for, known to the server */
bool fed;             /* the home has heard that */
bool event_due, event;
byte event_gaps;
bool check; /* the position check that comes every 40 s */
chan pend = [SEQS] of { byte }; /* in the client library */
chan live = [SEQS] of { byte }; /* letters to the home */

#define FIRST ((store | foreign) -> LOWEST(store | foreign) : seq + 1)

inline expire()
{
    t = BIT(LOWEST(store | foreign));
    store = store & ~t;
    foreign = foreign & ~t;
    t = 0
}

proctype Bus()
{
    byte foreigns, downs, slows, quiet, expires;

end:
    do
    :: atomic { seq < SEQS ->
        seq++;
        own = own | BIT(seq);
        t = HIGHEST(store);
        store = store | BIT(seq);
        if
        :: BITS(store) > KEEP -> store = store & ~BIT(LOWEST(store))
        :: else
        fi;
        if
        :: up && subbed -> pend!seq; prev[seq] = t
#if QUIET
        :: up && subbed && quiet < QUIET -> quiet++
#endif
        :: !(up && subbed)
        fi;
        t = 0
       }
#if FOREIGN
    :: d_step { seq < SEQS && foreigns < FOREIGN -> foreigns++; seq++; foreign = foreign | BIT(seq) }
#endif
    :: d_step { pend?t -> stamp[t] = gaps; live!t; t = 0 }
    /* Answered when the server has it; away, it will have it with the rest. */
    :: d_step { wanted && !subbed -> subbed = true }
#if DOWNS
    :: d_step { up && downs < DOWNS -> downs++; up = 0; gaps++ }
#ifdef M_COUNT_ONCE
    :: d_step { !up -> up = true; event_due = true }
#else
    :: d_step { !up -> up = true; event_due = true; gaps++ }
#endif
#endif
#if SLOWS
    :: d_step { slows < SLOWS && len(pend) > 0 -> slows++; pend?t; prev[t] = 0; t = 0; gaps++; event_due = true }
#endif
#if DOWNS || SLOWS
    :: d_step { event_due && up && !event -> event_due = false; event = true; event_gaps = gaps }
#endif
#if EXPIRES
    :: d_step { expires < EXPIRES && (store | foreign) -> expires++; expire() }
#endif
    od
}

/* --- a read of the stream, all that is stored -------------------------------- */

mtype = { IDLE, BEGUN, INFORMED, FETCHED, DONE };
mtype reader = IDLE;
bool r_failed;
byte r_gaps, r_last, r_first, r_set, r_floor;

proctype Reader()
{
    byte errors;

end:
    do
    :: d_step { reader == BEGUN -> 
        reader = INFORMED;
        r_gaps = gaps;
        r_last = seq;
#ifdef M_PROOF_BEFORE
        r_first = FIRST
#endif
       }
    :: d_step { reader == INFORMED -> reader = FETCHED;
#ifdef M_PROOF_BEFORE
        r_set = store & UPTO(r_last) /* as far as there was something when it began */
#else
        r_set = store
#endif
       }
    :: d_step { reader == FETCHED -> reader = DONE;
#ifndef M_PROOF_BEFORE
        r_first = FIRST;
#endif
#ifdef M_GAP_AFTER_READ
        r_gaps = gaps;
#endif
        if
        :: BITS(r_set) < KEEP && r_set == 0 -> r_floor = r_first - 1
        :: BITS(r_set) < KEEP && r_set != 0 -> r_floor = MIN(r_first, LOWEST(r_set)) - 1
        :: else -> r_floor = LOWEST(r_set) - 1
        fi;
        r_last = MAX(r_last, HIGHEST(r_set));
        r_last = MAX(r_last, r_floor);
        r_first = 0
       }
#if ERRORS
    :: d_step { errors < ERRORS && (reader == BEGUN || reader == INFORMED || reader == FETCHED) ->
        errors++;
        reader = DONE;
        r_failed = true;
        r_set = 0;
        r_first = 0
       }
#endif
    od
}

/* --- the home shard over a bus ------------------------------------------------ */

bool known;       /* top, floor and ring are: proven up to this count: */
byte proven_gaps;
byte seen_gaps;   /* the newest that an event told */
bool reading;     /* and what it brings is for us, not for an entry before */
bool over;        /* something held was given up */
byte asked;       /* of those waiting, how many came before the read began */
chan held = [HOLD] of { byte };
chan waiting = [ROOM] of { byte, byte, bool, byte, byte };

inline start_read()
{
    if
    :: reader == IDLE ->
        reader = BEGUN;
        reading = true;
        asked = len(waiting)
    :: else /* A read of an entry before: when it has ended. */
    fi
}

/* What a letter said beside the number is no state once it is used. */
#define used(s) \
    prev[s] = 0; \
    stamp[s] = 0

inline forget()
{
    known = false;
    top = 0; floor = 0; ring = 0; proven_gaps = 0;
    over = false;
    do
    :: len(held) > 0 -> held?g; used(g)
    :: len(held) == 0 -> g = 0; break
    od
}

/* Something may be missing: read, if anybody cares. */
inline heal()
{
    if
    :: interest -> start_read()
    :: else -> forget()
    fi
}

inline hold(s)
{
    if
    :: len(held) < HOLD -> held!s
    :: else ->
        /* Too many: who is live is taken off, who asks gets a newer read. */
        do
        :: len(held) > 0 -> held?t; used(t)
        :: len(held) == 0 -> t = 0; break
        od;
        used(s);
#ifndef M_OVER_SILENTLY
        over = true;
        if
        :: known -> tell_all(OFF, 0)
        :: else
        fi
#endif
    fi
}

#ifdef M_NO_CHAIN
#define FOLLOWS(s) (stamp[s] <= proven_gaps)
#else
#ifdef M_NO_GAP_COUNT
#define FOLLOWS(s) (prev[s] <= top)
#else
#ifdef M_ZERO_FOLLOWS
#define FOLLOWS(s) (prev[s] == top || (prev[s] < top && stamp[s] <= proven_gaps))
#else
#define FOLLOWS(s) \
    ((prev[s] == top && top != 0) || (prev[s] <= top && stamp[s] <= proven_gaps))
#endif
#endif
#endif

/* Known, and no read runs. */
inline follow(s)
{
    if
    :: s <= top ->
#ifdef M_NO_DEDUP
        tell_all(PUB, s);
#endif
        used(s)
    :: s > top && FOLLOWS(s) ->
        take(s);
        used(s)
    :: s > top && !FOLLOWS(s) ->
        heal();
        if
        :: known -> hold(s)
        :: else
        fi
    fi
}

inline on_live(s)
{
    if
#ifdef M_LIVE_WHILE_READING
    :: reading -> tell_all(PUB, s)
#else
    :: reading -> hold(s)
#endif
    :: !reading && known -> follow(s)
    :: !reading && !known && len(waiting) > 0 -> hold(s)
    :: else -> used(s)
    fi
}

/* Those before the read: whatever it brought. Later ones may have a position
 * that is newer than the read; theirs is still to come. */
inline answer_waiting()
{
    byte_n = len(waiting);
    do
    :: byte_n > 0 ->
        byte_n--;
        waiting?w, g, p, q, t;
        if
        :: asked == 0 && p && q > top -> waiting!w, g, p, q, t
        :: else -> answer(w, g, p, q, t)
        fi;
        asked = (asked > 0 -> asked - 1 : 0)
    :: else -> break
    od;
    w = 0; g = 0; p = 0; q = 0; t = 0;
    if
    :: len(waiting) > 0 -> start_read()
    :: else
    fi
}

inline fail_waiting()
{
    do
    :: len(waiting) > 0 -> waiting?w, g, _, _, _; post(w, FAIL, g, false, 0, 0)
    :: len(waiting) == 0 -> break
    od;
    w = 0; g = 0;
    asked = 0
}

/* What is held follows, until one does not. */
inline merge()
{
    byte_n = len(held);
    do
    :: byte_n > 0 && !reading && len(held) > 0 ->
        byte_n--;
        held?h;
        if
        :: h <= top ->
#ifdef M_NO_DEDUP
            tell_all(PUB, h);
#endif
            used(h)
        :: h > top && FOLLOWS(h) ->
            take(h);
            used(h)
        :: h > top && !FOLLOWS(h) ->
            /* Back to the front: what is behind it goes round. */
            held!h;
            do
            :: byte_n > 0 -> byte_n--; held?h; held!h
            :: else -> break
            od;
            heal()
        fi
    :: else -> break
    od;
    h = 0;
    byte_n = 0
}

/* What the stream has and we do not goes out in order; or it cannot be said
 * what that is, and who is live is taken off. */
inline mend()
{
    if
#ifndef M_UNPROVEN
    :: known && r_floor > top -> tell_all(OFF, 0)
    :: known && r_floor <= top ->
#else
    :: known ->
#endif
        for (h : 1 .. SEQS) {
            if
            :: h > top && (r_set & BIT(h)) -> tell_all(PUB, h)
            :: else
            fi
        }
        h = 0
    :: else
    fi;
    known = true;
    top = r_last; floor = r_floor; ring = r_set;
    proven_gaps = r_gaps
}

inline end_read()
{
    reader = IDLE;
    r_failed = false;
    r_gaps = 0; r_last = 0; r_set = 0; r_floor = 0
}

inline on_read()
{
    if
    :: !reading -> /* of an entry that is gone */
        end_read();
        if
        :: fed && (len(waiting) > 0 || known) -> start_read()
        :: else
        fi
    :: reading && r_failed ->
        reading = false;
        if
        :: known -> tell_all(OFF, 0)
        :: else
        fi;
        fail_waiting();
        forget();
        end_read()
    :: else ->
        reading = false;
        mend();
        end_read();
        if
        :: over -> over = false; start_read()
        :: else ->
            answer_waiting();
            if
            :: !reading -> merge()
            :: else
            fi;
#ifndef M_NO_GAP_COUNT
            if
            :: !reading && known && seen_gaps > proven_gaps -> heal()
            :: else
            fi
#endif
        fi
    fi
}

#ifdef M_READ_BEFORE_SUB
#define MAY_READ wanted
#else
#define MAY_READ fed
#endif

inline on_ask()
{
    interest = interest | BIT(w);
    wanted = true;
    if
    :: known && !reading && (!p || IS_KNOWN(q)) -> answer(w, g, p, q, t)
    :: else ->
        assert(nfull(waiting));
        waiting!w, g, p, q, t;
        if
        :: MAY_READ && !reading -> start_read()
        :: else
        fi
    fi
}

proctype Home()
{
    byte byte_n, h, releases;

end:
    do
    :: atomic {
        if
        :: nempty(asks[0]) -> w = 0
#if NC > 1
        :: nempty(asks[1]) -> w = 1
#endif
        fi;
        if
        :: asks[w]?ASK, g, p, q, t -> on_ask()
        :: asks[w]?LEAVE, _, _, _, _ -> interest = interest & ~BIT(w)
        fi;
        w = 0; g = 0; p = 0; q = 0; t = 0
       }
    :: atomic { wanted && subbed && !fed ->
        fed = true;
        if
        :: len(waiting) > 0 && !reading -> start_read()
        :: else
        fi
       }
    :: atomic { live?h -> on_live(h); h = 0 }
#if DOWNS || SLOWS
    :: atomic { event ->
        event = false;
        seen_gaps = event_gaps;
        event_gaps = 0;
#ifndef M_NO_GAP_COUNT
        if
        :: known && !reading && seen_gaps > proven_gaps -> heal()
        :: else
        fi
#endif
       }
#endif
    :: atomic { check -> check = false; if :: known && !reading -> heal() :: else fi }
    :: atomic { reader == DONE -> on_read() }
#if RELEASES
    :: atomic { wanted && interest == 0 && len(waiting) == 0 && releases < RELEASES ->
        releases++;
#ifndef M_STALE_READ
        reading = false;
#endif
        forget();
        wanted = false; subbed = false; fed = false
       }
#endif
    od
}

/* When nothing can happen any more, everybody is live and has got or been told
 * about everything; what nobody counted needs the check of every 40 s. */
proctype End()
{
#if QUIET
    timeout -> check = true;
#endif
    timeout ->
    for (i : 0 .. NC - 1) {
        assert(state[i] == LIVE && (own & ABOVE(pos[i])) == 0)
    }
}

init
{
    atomic {
        for (i : 0 .. NC - 1) { run Client(i) }
        i = 0;
        run Bus(); run Reader(); run Home(); run End()
    }
}
#endif
