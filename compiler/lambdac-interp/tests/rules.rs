//! One program a rule of the language; its `test` items say what must come out.

mod support;

use lambdac_interp::TestResult;

/// Runs the tests of a workload, which must have some and pass them all.
fn passes(body: &str) {
    let source = format!("workload w;\n{body}");
    let results = support::run(&source);
    assert!(!results.is_empty(), "no test in\n{source}");
    for result in results {
        if let TestResult::Failed(failures) = result {
            for failure in &failures {
                let span = failure.span.start as usize..failure.span.end as usize;
                eprintln!(
                    "{}\n  expected {}\n  got {}",
                    &source[span], failure.expected, failure.got
                );
            }
            panic!("{source}");
        }
    }
}

macro_rules! rules {
    ($($name:ident: $body:expr;)*) => {$(
        #[test]
        fn $name() {
            passes($body);
        }
    )*};
}

// Section 2: values and operators.
rules! {
    arithmetic_wraps_at_odd_widths: "
        header H { a: u3, b: u13 }
        lambda sum(h: H) -> H { reply H { a: h.a + 1, b: h.b - 1 }; }
        test \"t\" {
            expect sum(H { a: 7, b: 0 }) == H { a: 0, b: 8191 };
            expect sum(H { a: 0, b: 1 }) == b\"\\x20\\x00\";
        }";
    signed_arithmetic_wraps_and_orders: "
        lambda f(x: [i8; 2]) -> [i8; 5] {
            let a = x[0];
            let b = x[1];
            reply [a + b, a / b, a % b, min(a, b), a >> 1];
        }
        test \"t\" {
            expect f([-7, 2]) == [-5, -3, -1, -7, -4];
            expect f([-128, -1]) == [127, -128, 0, -128, -64];
            expect f([-7, 0]) == [-7, 0, -7, -7, -4];
        }";
    division_by_zero_gives_zero_and_the_remainder_the_dividend: "
        lambda f(x: [u16; 2]) -> [u16; 2] { reply [x[0] / x[1], x[0] % x[1]]; }
        test \"t\" { expect f([9, 0]) == [0, 9]; expect f([9, 2]) == [4, 1]; }";
    shifts_past_the_width_leave_nothing_but_the_sign: "
        lambda f(x: [u8; 2]) -> [u8; 3] {
            reply [x[0] << x[1], x[0] >> x[1], (x[0] as i8 >> x[1]) as u8];
        }
        test \"t\" {
            expect f([0x81, 1]) == [2, 0x40, 0xc0];
            expect f([0x81, 8]) == [0, 0, 0xff];
            expect f([0x81, 255]) == [0, 0, 0xff];
        }";
    casts_extend_by_the_sources_type: "
        lambda f(x: [i8; 1]) -> [u32; 3] {
            reply [x[0] as u32, x[0] as u8 as u32, (x[0] as i16 as u32) & 0xffff];
        }
        test \"t\" { expect f([-2]) == [0xffff_fffe, 0xfe, 0xfffe]; }";
    ranges_hold_their_first_and_not_their_last: "
        lambda f(x: [u8; 1]) -> [u8; 1] { reply [if x[0] in 3..5 { 1 } else { 0 }]; }
        test \"t\" {
            expect f([2]) == [0];
            expect f([3]) == [1];
            expect f([5]) == [0];
        }";
    a_prefix_compares_its_bits_only: "
        lambda f(x: [u32; 1]) -> [u8; 1] { reply [if x[0] in 10.0.0.0/15 { 1 } else { 0 }]; }
        test \"t\" {
            expect f([10.1.255.255]) == [1];
            expect f([10.0.0.0]) == [1];
            expect f([10.2.0.0]) == [0];
        }";
    equality_compares_lengths_and_all_parts: "
        struct P { a: u8, b: [u8; 2] }
        lambda f(x: bytes<4>) -> [u8; 3] {
            let p = P { a: 1, b: [2, 3] };
            let q = P { b: [2, 3], a: 1 };
            reply [
                if x == b\"ab\" { 1 } else { 0 },
                if p == q { 1 } else { 0 },
                if p.b != [2, 4] { 1 } else { 0 },
            ];
        }
        test \"t\" {
            expect f(b\"ab\") == [1, 1, 1];
            expect f(b\"ab\\0\") == [0, 1, 1];
        }";
    logic_stops_early: "
        state calls: u32;
        fn yes() -> bool { calls.fetch_add(1); return true; }
        lambda f(x: [u8; 1]) -> [u8; 1] {
            let a = x[0] == 0 && yes();
            let b = x[0] == 0 || yes();
            reply [a as u8 + b as u8];
        }
        test \"t\" {
            expect f([0]) == [2];
            expect calls == 1;
            expect f([1]) == [1];
            expect calls == 2;
        }";
    evaluation_is_left_to_right_and_fields_as_written: "
        struct P { a: u32, b: u32 }
        state n: u32;
        lambda f() -> [u32; 4] {
            let p = P { b: n.fetch_add(1), a: n.fetch_add(1) };
            let d = n.fetch_add(1) - n.fetch_add(1);
            reply [p.a, p.b, d, n];
        }
        test \"t\" { expect f(b\"\") == [1, 0, 0xffff_ffff, 4]; }";
    an_assignment_does_its_right_side_first: "
        state n: u32;
        lambda f() -> [u32; 2] {
            let mut a = [0u32, 0];
            a[n.fetch_add(1)] = n.fetch_add(1) + 10;
            reply a;
        }
        test \"t\" { expect f(b\"\") == [0, 10]; expect f(b\"\") == trap; expect n == 4; }";
    an_index_past_the_length_traps_and_earlier_writes_stay: "
        state n: u32;
        lambda f(x: bytes<4>) -> [u8; 1] {
            n.fetch_add(1);
            let c = x[1];
            n.fetch_add(1);
            reply [c];
        }
        test \"t\" {
            expect f(b\"a\") == trap;
            expect n == 1;
            expect f(b\"ab\") == b\"b\";
            expect n == 3;
        }";
    a_slice_is_within_the_length: "
        lambda f(x: bytes<8>) -> bytes<8> { reply x[x[0] as u32..x[1] as u32]; }
        test \"t\" {
            expect f(b\"\\x02\\x04abcd\") == b\"ab\";
            expect f(b\"\\x02\\x02ab\") == b\"\";
            expect f(b\"\\x00\\x04ab\") == b\"\\x00\\x04ab\";
            expect f(b\"\\x00\\x05ab\") == trap;
            expect f(b\"\\x02\\x01ab\") == trap;
        }";
    bytes_grow_to_their_capacity: "
        lambda f(x: bytes<8>) -> bytes<4> {
            let mut out: bytes<4>;
            out.append(x);
            out.push(b'!');
            reply out;
        }
        test \"t\" {
            expect f(b\"abc\") == b\"abc!\";
            expect f(b\"abcd\") == trap;
            expect f(b\"abcde\") == trap;
        }";
    clear_empties_and_a_byte_can_be_assigned: "
        lambda f(x: bytes<4>) -> bytes<4> {
            let mut out = x;
            out[0] = b'z';
            if x.len() > 2 { out.clear(); }
            reply out;
        }
        test \"t\" {
            expect f(b\"ab\") == b\"zb\";
            expect f(b\"abc\") == b\"\";
            expect f(b\"\") == trap;
        }";
    pad_fills_with_zeros_and_traps_past_the_end: "
        lambda f(x: bytes<4>) -> [u8; 2] { reply pad(x); }
        test \"t\" {
            expect f(b\"a\") == b\"a\\0\";
            expect f(b\"ab\") == b\"ab\";
            expect f(b\"abc\") == trap;
        }";
    narrowing_traps_where_it_does_not_fit: "
        lambda f(x: bytes<4>) -> bytes<2> { reply x as bytes<2>; }
        test \"t\" { expect f(b\"ab\") == b\"ab\"; expect f(b\"abc\") == trap; }";
    hashes_have_their_check_values: "
        header R { a: u32, b: u16 }
        lambda f(x: bytes<16>) -> R { reply R { a: hash::crc32(x), b: hash::crc16(x) }; }
        test \"t\" { expect f(b\"123456789\") == R { a: 0xcbf43926, b: 0xbb3d }; }";
    values_are_copied: "
        lambda f() -> [u8; 2] {
            let mut a = [1u8, 2];
            let b = a;
            a[0] = 9;
            reply [a[0], b[0]];
        }
        test \"t\" { expect f(b\"\") == [9, 1]; }";
}

// Section 3: statements.
rules! {
    a_match_takes_the_first_arm: "
        lambda f(x: [u8; 1]) -> [u8; 1] {
            let mut out = 0u8;
            match x[0] { 0 => { out = 1; } 1 | 2 => { out = 2; } 2..10 => { out = 3; } _ => { out = 4; } }
            reply [out];
        }
        test \"t\" {
            expect f([0]) == [1];
            expect f([2]) == [2];
            expect f([9]) == [3];
            expect f([10]) == [4];
        }";
    a_signed_range_is_ordered_by_sign: "
        lambda f(x: [i8; 1]) -> [u8; 1] {
            let mut out = 0u8;
            match x[0] { -3..2 => { out = 1; } _ => { } }
            reply [out];
        }
        test \"t\" { expect f([-3]) == [1]; expect f([1]) == [1]; expect f([2]) == [0]; expect f([-4]) == [0]; }";
    an_enum_from_the_wire_can_be_none_of_its_names: "
        enum Op: u8 { Get = 0, Set = 1 }
        header H { op: Op }
        lambda f(h: H) -> [u8; 1] {
            let mut out = 0u8;
            match h.op { Op::Get => { out = 1; } Op::Set => { out = 2; } _ => { out = 3; } }
            reply [out];
        }
        test \"t\" {
            expect f(b\"\\0\") == [1];
            expect f(b\"\\x01\") == [2];
            expect f(b\"\\xff\") == [3];
        }";
    a_loop_without_room_runs_no_trip: "
        lambda f(x: [u8; 2]) -> [u8; 1] {
            let mut n = 0u8;
            for i in x[0]..x[1] max 3 { n += 1 + i - i; }
            reply [n];
        }
        test \"t\" {
            expect f([2, 2]) == [0];
            expect f([5, 2]) == [0];
            expect f([2, 5]) == [3];
            expect f([2, 6]) == trap;
        }";
    the_trip_past_max_traps_where_it_would_start: "
        state n: u32;
        lambda f(x: [u8; 1]) -> [u8; 1] {
            let mut i = x[0];
            while i > 0 max 2 { n.fetch_add(1); i -= 1; }
            reply [i];
        }
        test \"t\" {
            expect f([2]) == [0];
            expect n == 2;
            expect f([3]) == trap;
            expect n == 4;
        }";
    break_and_continue_are_of_the_innermost_loop: "
        lambda f() -> [u8; 2] {
            let mut a = 0u8;
            let mut b = 0u8;
            for i in 0..4 {
                if i == 1 { continue; }
                for j in 0..4 { if j == 2 { break; } b += 1; }
                a += 1;
            }
            reply [a, b];
        }
        test \"t\" { expect f(b\"\") == [3, 6]; }";
    fns_return_early_and_options_open: "
        fn half(x: u8) -> u8? { if x % 2 == 1 { return none; } return x / 2; }
        lambda f(x: [u8; 1]) -> [u8; 2] {
            let a = if let v = half(x[0]) { v } else { 100 };
            let b = half(x[0]) else { reply [a, 200]; };
            reply [a, b];
        }
        test \"t\" { expect f([8]) == [4, 4]; expect f([7]) == [100, 200]; }";
    the_arguments_of_log_are_evaluated: "
        state n: u32;
        lambda f() -> [u32; 1] { log(b\"n\", n.fetch_add(1)); reply [n]; }
        test \"t\" { expect f(b\"\") == [1]; }";
}

// Sections 4 and 5: lambdas and match.
rules! {
    a_request_that_does_not_fit_is_bad: "
        state n: u32;
        header H { a: u16, rest: bytes<2> }
        lambda f(h: H) -> [u8; 1] { n.fetch_add(1); reply [h.rest.len() as u8]; }
        test \"t\" {
            expect f(b\"a\") == bad_request;
            expect f(b\"abcde\") == bad_request;
            expect n == 0;
            expect f(b\"ab\") == [0];
            expect f(b\"abcd\") == [2];
        }";
    without_a_parameter_any_request_is_taken: "
        lambda f() -> bytes<2> { reply b\"ok\"; }
        test \"t\" { expect w(b\"\") == b\"ok\"; expect w(b\"anything\") == b\"ok\"; }";
    a_lambda_can_drop_and_punt: "
        lambda f(x: [u8; 1]) -> bytes<2> { if x[0] == 0 { drop; } if x[0] == 1 { punt; } reply b\"ok\"; }
        test \"t\" { expect f([0]) == drop; expect f([1]) == punt; expect f([2]) == b\"ok\"; }";
    punt_name_gives_the_whole_request_to_a_lambda_that_checks_its_own_t: "
        lambda fast(x: bytes<8>) -> bytes<8> { if x.len() > 2 { punt slow; } reply x; }
        lambda slow(x: bytes<4>) -> bytes<8> { reply x[1..3]; }
        match (x: bytes<8>) { x.len() == 9 => drop, _ => fast, }
        test \"t\" {
            expect w(b\"ab\") == b\"ab\";
            expect w(b\"abcd\") == b\"bc\";
            expect fast(b\"abcd\") == b\"bc\";
            expect w(b\"abcde\") == bad_request;
        }";
    the_first_rule_that_holds_wins_and_none_is_a_bad_request: "
        lambda a(x: bytes<8>) -> bytes<1> { reply if x.len() > 7 { b\"A\" } else { b\"a\" }; }
        lambda b(x: bytes<2>) -> bytes<1> { reply if x.len() > 1 { b\"B\" } else { b\"b\" }; }
        match (x: [u8; 1]) { x[0] < 5 => a, x[0] < 10 => b, x[0] == 11 => drop, x[0] == 12 => punt, }
        test \"t\" {
            expect w(b\"\\x04\") == b\"a\";
            expect w(b\"\\x05\") == b\"b\";
            expect w(b\"\\x05_\") == b\"B\";
            expect w(b\"\\x0b\") == drop;
            expect w(b\"\\x0c\") == punt;
            expect w(b\"\\x0d\") == bad_request;
        }";
    a_match_sees_a_prefix: "
        header H { op: u8, rest: bytes<2> }
        lambda all(x: bytes<8>) -> [u8; 1] { reply [x.len() as u8]; }
        lambda none_(x: bytes<8>) -> [u8; 1] { reply [100 + x.len() as u8]; }
        match (h: H) { h.rest.len() == 2 => all, _ => none_, }
        test \"t\" {
            expect w(b\"\") == bad_request;
            expect w(b\"o\") == [101];
            expect w(b\"oab\") == [3];
            expect w(b\"oabcdefg\") == [8];
            expect w(b\"oabcdefgh\") == bad_request;
        }";
    a_condition_can_trap_and_look_at_pkt_and_tables: "
        table peers: exact<u32, bool>(4) { 10.0.0.1 => true }
        lambda f(x: bytes<4>) -> [u16; 1] { reply [pkt.src_port + x.len() as u16]; }
        match (x: bytes<4>) { peers.has(pkt.src_ip) && x[0] == b'a' => f, _ => drop, }
        test \"t\" {
            expect w(b\"a\") == drop;
            expect w(b\"a\") with { src_ip: 10.0.0.1, src_port: 6 } == [7];
            expect w(b\"\") with { src_ip: 10.0.0.1 } == trap;
        }";
    a_stream_is_cut_into_chunks_and_its_replies_stand_in_order: "
        state n: u32;
        stream lambda f(x: bytes<2>) -> bytes<3> {
            n.fetch_add(1);
            let mut out: bytes<3> = b\".\";
            out.append(x);
            reply out;
        }
        test \"t\" {
            expect f(b\"abcde\") == b\".ab.cd.e\";
            expect n == 3;
            expect w(b\"\") == b\"\";
            expect n == 3;
        }";
    a_stream_of_fixed_chunks_takes_whole_ones_only: "
        state n: u32;
        stream lambda f(x: [u8; 2]) -> [u8; 1] { n.fetch_add(1); reply [x[0] + x[1]]; }
        test \"t\" {
            expect f(b\"\\x01\\x02\\x03\\x04\") == b\"\\x03\\x07\";
            expect f(b\"\\x01\\x02\\x03\") == bad_request;
            expect f(b\"\") == bad_request;
            expect n == 3;
        }";
    an_error_in_a_chunk_ends_the_message: "
        stream lambda f(x: bytes<2>) -> bytes<1> { reply x[1..2]; }
        test \"t\" { expect f(b\"abcd\") == b\"bd\"; expect f(b\"abc\") == trap; }";
    a_match_picks_for_each_chunk: "
        stream lambda a(x: bytes<2>) -> bytes<1> { reply if x.len() == 2 { b\"a\" } else { b\"s\" }; }
        stream lambda b(x: [u8; 2]) -> bytes<1> { reply if x[1] == 0 { b\"0\" } else { b\"b\" }; }
        match (x: [u8; 1]) { x[0] == b'a' => a, x[0] == b'b' => b, }
        test \"t\" {
            expect w(b\"a_b_a\") == b\"abs\";
            expect w(b\"a_b\") == bad_request;
            expect w(b\"a_c_\") == bad_request;
            expect w(b\"\") == bad_request;
        }";
}

// Section 6: state.
rules! {
    atomics_give_the_old_value_and_wrap_at_their_width: "
        state n: u5 = 30;
        lambda f() -> [u8; 6] {
            let a = n.fetch_add(3);
            let b = n.fetch_sub(2);
            let c = n.swap(9);
            let d = n.cas(9, 10);
            let e = n.cas(9, 11);
            reply [a as u8, b as u8, c as u8, d as u8, e as u8, n as u8];
        }
        test \"t\" { expect f(b\"\") == [30, 1, 31, 1, 0, 10]; }";
    fields_and_elements_of_state_are_places: "
        struct P { a: u8, b: [u8; 2] }
        state s: [P; 2];
        lambda f(x: [u8; 1]) -> [u8; 2] {
            s[x[0]].b[1] = 7;
            s[1].b[1].fetch_add(2);
            reply s[1].b;
        }
        test \"t\" {
            expect f([1]) == [0, 9];
            expect s[1].b[1] == 9;
            expect s[0].a == 0;
            expect f([2]) == trap;
        }";
    counters_count_and_trap_past_the_last: "
        state c: counter[2];
        state one: counter;
        lambda f(x: [u8; 1]) -> [u64; 2] { one.add(5); c[x[0]].add(2); reply [c[0].read(), one.read()]; }
        test \"t\" {
            expect f([0]) == [2, 5];
            expect f([2]) == trap;
            expect one == 10;
            expect c[1] == 0;
        }";
    an_lru_forgets_the_least_recently_used_of_a_full_one: "
        state l: lru<u8, u8>(2);
        lambda put(x: [u8; 2]) -> bytes<0> { l.put(x[0], x[1]); reply b\"\"; }
        lambda get(x: [u8; 1]) -> [u8; 1] { let v = l.get(x[0]) else { reply [255]; }; reply [v]; }
        lambda del(x: [u8; 1]) -> bytes<0> { l.remove(x[0]); reply b\"\"; }
        test \"t\" {
            expect put([1, 10]) == b\"\";
            expect put([2, 20]) == b\"\";
            expect get([1]) == [10];
            expect put([3, 30]) == b\"\";
            expect get([2]) == [255];
            expect get([1]) == [10];
            expect put([1, 11]) == b\"\";
            expect get([3]) == [30];
            expect get([1]) == [11];
            expect del([1]) == b\"\";
            expect get([1]) == [255];
        }";
    an_entry_lives_for_its_ttl_from_when_it_was_stored: "
        state l: lru<u8, u8>(2, ttl = 1s);
        lambda add(x: [u8; 1]) -> [u8; 1] { let v = l.fetch_add(x[0], 3) else { reply [255]; }; reply [v]; }
        lambda get(x: [u8; 1]) -> [u8; 1] { let v = l.get(x[0]) else { reply [255]; }; reply [v]; }
        test \"t\" {
            expect add([1]) with { now: 1s } == [255];
            expect add([1]) with { now: 1500ms } == [3];
            expect get([1]) with { now: 1999ms } == [6];
            expect get([1]) with { now: 2s } == [255];
            expect add([1]) with { now: 3s } == [255];
        }";
    a_map_never_forgets_and_refuses_new_keys_when_full: "
        state m: map<u8, u16>(1);
        lambda put(x: [u8; 2]) -> [u8; 1] { reply [m.insert(x[0], x[1] as u16) as u8]; }
        lambda add(x: [u8; 2]) -> [u16; 1] { let v = m.fetch_add(x[0], x[1] as u16) else { reply [999]; }; reply [v]; }
        lambda del(x: [u8; 1]) -> [u8; 1] { reply [m.remove(x[0]) as u8]; }
        test \"t\" {
            expect put([1, 5]) == [1];
            expect put([2, 5]) == [0];
            expect put([1, 6]) == [1];
            expect add([2, 1]) == [999];
            expect put([2, 5]) == [0];
            expect add([1, 4]) == [6];
            expect add([1, 0]) == [10];
            expect del([2]) == [0];
            expect del([1]) == [1];
            expect add([2, 8]) == [999];
            expect add([2, 0]) == [8];
        }";
    a_keyed_sum_wraps_at_the_values_width: "
        state m: map<u8, u4>(1);
        lambda add(x: [u8; 1]) -> [u8; 1] { let v = m.fetch_add(1, x[0] as u4) else { reply [99]; }; reply [v as u8]; }
        test \"t\" { expect add([15]) == [99]; expect add([3]) == [15]; expect add([0]) == [2]; }";
    the_longest_prefix_wins: "
        table t: lpm<u32, u8>(8) { 0.0.0.0/0 => 1, 10.0.0.0/8 => 2, 10.1.0.0/16 => 3 }
        lambda f(x: [u32; 1]) -> [u8; 1] { let v = t.get(x[0]) else { reply [0]; }; reply [v]; }
        test \"t\" {
            expect f([10.1.2.3]) == [3];
            expect f([10.2.2.3]) == [2];
            expect f([11.2.2.3]) == [1];
        }";
    the_first_listed_of_a_ternary_table_wins: "
        table t: ternary<u8, u8>(8) { 0x10 & 0xf0 => 1, 0x11 & 0x0f => 2, _ => 3 }
        lambda f(x: [u8; 1]) -> [u8; 1] { let v = t.get(x[0]) else { reply [0]; }; reply [v]; }
        test \"t\" { expect f([0x11]) == [1]; expect f([0x21]) == [2]; expect f([0x22]) == [3]; }";
    an_exact_table_finds_the_whole_key: "
        table t: exact<[u8; 2], u8>(8) { pad(b\"ab\") => 1, pad(b\"ac\") => 2 }
        lambda f(x: [u8; 2]) -> [u8; 1] { let v = t.get(x) else { reply [0]; }; reply [v + t.has(x) as u8]; }
        test \"t\" { expect f(b\"ab\") == [2]; expect f(b\"ac\") == [3]; expect f(b\"ad\") == [0]; }";
    each_test_starts_from_fresh_state: "
        state n: u32 = 5;
        lambda f() -> [u32; 1] { reply [n.fetch_add(1)]; }
        test \"one\" { expect f(b\"\") == [5]; expect f(b\"\") == [6]; }
        test \"two\" { expect f(b\"\") == [5]; expect n == 6; }";
}

// Sections 7 and 10: services and tests.
rules! {
    what_is_given_is_answered_in_order: "
        service cache = memcached(\"127.0.0.1:11211\", timeout = 5ms);
        lambda get(key: bytes<255>) -> bytes<1024> {
            let value = await cache.get(key) else {
                if cache.failed() { reply b\"failed\"; }
                reply b\"missing\";
            };
            reply value;
        }
        test \"t\" {
            given cache.get(b\"a\") => b\"1\";
            given cache.get(b\"b\") => none;
            given cache.get(b\"c\") => fail;
            given cache.get(b\"d\") => none;
            expect get(b\"a\") == b\"1\";
            expect get(b\"b\") == b\"missing\";
            expect get(b\"c\") == b\"failed\";
            expect get(b\"d\") == b\"missing\";
        }
        test \"a bad key is never sent\" {
            expect get(b\"\") == b\"failed\";
            expect get(b\"a b\") == b\"failed\";
            expect get(b\"a\\r\\n\") == b\"failed\";
            expect get(b\"\\x7f\") == b\"failed\";
        }";
    set_and_delete_are_true_or_missing: "
        service cache = memcached(\"127.0.0.1:11211\", timeout = 5ms);
        lambda put(x: bytes<8>) -> bytes<8> {
            if let done = await cache.set(x, b\"v\") {
                reply if done { b\"stored\" } else { b\"?\" };
            } else {
                let _gone = await cache.delete(x) else { reply b\"neither\"; };
                reply b\"deleted\";
            }
        }
        test \"t\" {
            given cache.set(b\"a\", b\"v\") => true;
            expect put(b\"a\") == b\"stored\";
            given cache.set(b\"a\", b\"v\") => none;
            given cache.delete(b\"a\") => true;
            expect put(b\"a\") == b\"deleted\";
            given cache.set(b\"a\", b\"v\") => fail;
            given cache.delete(b\"a\") => fail;
            expect put(b\"a\") == b\"neither\";
        }";
    a_call_sees_what_its_with_sets: "
        param greeting: bytes<8> = b\"hello\";
        lambda f() -> bytes<8> { reply greeting; }
        lambda p() -> [u64; 5] {
            reply [pkt.src_ip as u64, pkt.dst_port as u64, pkt.request_id, now(), random() as u64];
        }
        test \"t\" {
            expect f(b\"\") == b\"hello\";
            expect f(b\"\") with { greeting: b\"hi\" } == b\"hi\";
            expect f(b\"\") == b\"hello\";
            expect p(b\"\") with { random: 7 } == [0, 4369, 0, 1s, 7];
            expect p(b\"\") with { src_ip: 1.2.3.4, request_id: 9, now: 5s, random: 1 } == [0x01020304, 4369, 9, 5s, 1];
        }";
    the_dice_are_seeded_by_the_tests_name: "
        lambda f() -> [u32; 1] { reply [random()]; }
        test \"\" {
            expect f(b\"\") with { random: 3 } == [3];
            expect f(b\"\") == [0xc3817c01];
            expect f(b\"\") == [0x100cdaac];
        }";
    a_negated_expectation_still_needs_a_reply: "
        lambda f(x: [u8; 1]) -> [u8; 1] { reply x; }
        test \"t\" { expect f([1]) != [2]; }";
}
