"""How far are honest networks from those that hide, flag by flag, and what does it cost to tell them apart?"""
