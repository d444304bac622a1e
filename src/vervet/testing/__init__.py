"""What tests of Vervet and of its plug-ins share: fakes, a conformance suite for each seam, a network guard."""
