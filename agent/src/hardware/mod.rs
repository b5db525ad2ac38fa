//! Who should act: hardware managers, ranked.
