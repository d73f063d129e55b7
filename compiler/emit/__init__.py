"""From phase `scheduled` to a program: plain data that runs without the compiler."""
